from __future__ import annotations

from events_by_hand import SP, Script, initial_stack

from sentra_sandbox.views.initial_stack import arguments_and_environment
from sentra_sandbox.views.processes import process_tree, walk


def test_tree_of_a_shell_that_runs_two_programs() -> None:
    s = Script()
    events = [
        s.became(2, "/bin/sh", "sh", "-c", "ls; git"),
        s.started(3, parent=2),
        s.became(3, "/bin/ls", "ls"),
        s.ended(3, 0),
        s.started(4, parent=2),
        s.started(5, parent=4, tgid=4),
        s.became(4, "/usr/bin/git", "git", old_tid=5),
        s.ended(4, 11),
        s.ended(2, 0x300),
    ]
    table = process_tree(events)
    assert [(depth, p.pid, p.command, p.wait_status) for depth, p in walk(table.roots)] == [
        (0, 2, ("sh", "-c", "ls; git"), 0x300),
        (1, 3, ("ls",), 0),
        (1, 4, ("git",), 11),
    ]
    assert table.count == 3
    git = table.roots[0].children[1]
    assert git.threads == 2
    assert git.images[0].cwd == "/work dir"
    assert git.ended_ns is not None and git.ended_ns > git.started_ns


def test_a_forked_process_has_its_parents_command_and_a_killed_recording_no_end() -> None:
    s = Script()
    table = process_tree(
        [s.became(2, "/bin/python", "python", "a.py"), s.started(3, parent=2), s.call(3, "getpid", result=3)]
    )
    child = table.roots[0].children[0]
    assert child.command == ("python", "a.py")
    assert not child.images
    assert child.wait_status is None and child.ended_ns is None


def test_thread_end_is_not_process_end() -> None:
    s = Script()
    table = process_tree([s.became(2, "/x", "x"), s.started(3, parent=2, tgid=2), s.ended(3, 0, last=False)])
    assert table.count == 1
    assert table.roots[0].wait_status is None
    assert table.of(3) is table.roots[0]


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    s = Script()
    table = process_tree([s.became(2, "/x", "x"), s.started(3, 2), s.ended(3, 0), s.started(3, 2), s.ended(3, 256)])
    assert [child.wait_status for child in table.roots[0].children] == [0, 256]


def test_deep_trees_do_not_recurse() -> None:
    s = Script()
    table = process_tree([s.became(1, "/x", "x"), *(s.started(n, parent=n - 1) for n in range(2, 5000))])
    assert max(depth for depth, _ in walk(table.roots)) == 4998


def test_initial_stack() -> None:
    data = initial_stack(("a", "b c", "\udcff"), ("K=V", "E="))
    assert arguments_and_environment(data, SP) == (("a", "b c", "\udcff"), ("K=V", "E="))


def test_hostile_initial_stacks_give_what_is_there() -> None:
    good = initial_stack(("one", "two"), ("K=V",))
    for data in (b"", b"\1", b"\xff" * 8, b"\xff" * 64, good[:12], (1 << 40).to_bytes(8, "little") + good):
        argv, envp = arguments_and_environment(data, SP)
        assert len(argv) <= 2 and len(envp) <= 1
    for cut in range(len(good)):
        argv, _ = arguments_and_environment(good[:cut], SP)
        assert argv in ((), ("one",), ("one", "two"))
