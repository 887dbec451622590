"""A program sees nothing of its own recording, nor of others', and cannot change it."""

from __future__ import annotations

from pathlib import Path

from running import Product

LOOK = "find {0} -type f | sed 's|.*/||' | sort; touch {0}/x 2>&1 | grep -o 'Read-only.*'; exit 0"


def store_of(product: Product) -> Path:
    return Path(product.env["SENTRA_SANDBOX_HOME"])


def test_the_store_is_hidden_and_read_only(product: Product) -> None:
    product("exec", "-q", "--name", "earlier", "--net", "none", "--", "true")
    finished = product("exec", "-q", "--net", "none", "--", "sh", "-c", LOOK.format(store_of(product)))
    assert finished.stdout == b"Read-only file system\n"
    assert product("ls").stdout.count(b"earlier") == 1


def test_the_certificates_that_it_is_shown_are_left_and_cannot_be_changed(product: Product) -> None:
    script = f"cd {store_of(product)}/runs/*/trust && ls && cat ca-bundle.pem | grep -c BEGIN; echo x 2>/dev/null >> ca-bundle.pem || echo refused"
    lines = product("exec", "-q", "--", "sh", "-c", script).stdout.decode().split()
    assert lines[0] == "ca-bundle.pem" and int(lines[-2]) > 1 and lines[-1] == "refused"


def test_a_run_outside_of_the_store_is_hidden_too(product: Product) -> None:
    place = product.work.with_name("elsewhere")
    finished = product("exec", "-q", "--net", "none", "-o", str(place), "--", "sh", "-c", LOOK.format(place))
    assert finished.stdout == b"Read-only file system\n"
    assert product("show", str(place)).status == 0


def test_a_program_that_works_in_the_store_sees_it_but_not_its_run(product: Product) -> None:
    product("exec", "-q", "--net", "none", "--", "true")
    finished = product("exec", "-q", "--net", "none", "-C", str(store_of(product)), "--", "sh", "-c", "ls runs | wc -l; find runs -name arena")
    assert finished.stdout.split() == [b"2"]
