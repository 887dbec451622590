"""Shows signals, signal sets, siginfo and wait statuses (signal(7), sigaction(2), wait(2))."""

from __future__ import annotations

from .context import Context
from .flag_names import all_flags, flag_text
from .memory import Fields
from .quoting import address, signed32

FIRST_REALTIME = 32
LAST_SIGNAL = 64
_CODES = {4: "ill_code", 5: "trap_code", 7: "bus_code", 8: "fpe_code", 11: "segv_code", 17: "cld_code", 31: "sys_code"}
_FAULTS = (4, 5, 7, 8, 11)
SIGCHLD, SIGSYS = 17, 31


def signal_name(number: int) -> str:
    """SIGTERM; real-time signals count from SIGRT_2, the first that programs get; others are shown as numbers."""
    if FIRST_REALTIME <= number <= LAST_SIGNAL:
        return "SIGRTMIN" if number == FIRST_REALTIME else f"SIGRT_{number - FIRST_REALTIME}"
    return all_flags()["signal"].name_of(number) or str(number)


def sigset(data: bytes) -> str:
    """A signal mask: [INT TERM], and ~[...] if most are set. Shorter sets than 8 bytes are shown as far as they go."""
    bits = int.from_bytes(data[:8], "little")
    width = 8 * min(len(data), 8)
    numbers = [number for number in range(1, width + 1) if bits >> (number - 1) & 1]
    if len(numbers) > width * 2 // 3:
        absent = [number for number in range(1, width + 1) if number not in numbers]
        return f"~[{' '.join(_short(number) for number in absent)}]"
    return f"[{' '.join(_short(number) for number in numbers)}]"


def _short(number: int) -> str:
    return signal_name(number).removeprefix("SIG")


def wait_status(status: int) -> str:
    """The status word of wait4, taken apart as by WIFEXITED and its relatives."""
    status &= 0xFFFFFFFF
    low, high = status & 0x7F, status >> 8 & 0xFF
    if status == 0xFFFF:
        return "[{WIFCONTINUED(s)}]"
    if low == 0 and status <= 0xFFFF:
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {high}}}]"
    if status & 0xFF == 0x7F:
        event = f" | {status >> 16:#x} << 16" if status >> 16 else ""
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(high)}{event}}}]"
    if status <= 0xFF:
        core = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(low)}{core}}}]"
    return f"[{status:#x}]"


def siginfo(data: bytes) -> str:
    """siginfo_t: signal, code, and the fields that this code fills."""
    fields = Fields(data)
    number, error, code = fields.i32(0), fields.i32(4), fields.i32(8)
    if number == 0:
        return "{}"
    generic = all_flags()["si_code"].name_of(code)
    parts = [f"si_signo={signal_name(number)}"]
    parts.append(f"si_code={generic or flag_text(_CODES.get(number, 'si_code'), code)}")
    if error:
        parts.append(f"si_errno={error}")
    parts += _siginfo_rest(fields, number, code)
    return "{" + ", ".join(parts) + "}"


def _siginfo_rest(fields: Fields, number: int, code: int) -> list[str]:
    """The union of siginfo_t, chosen as the kernel chooses it: by code first, then by signal."""
    if code == -2:
        return [f"si_timerid={fields.i32(16):#x}", f"si_overrun={fields.i32(20)}"]
    if code <= 0 or code == 0x80:
        parts = [f"si_pid={fields.i32(16)}", f"si_uid={fields.u32(20)}"] if code <= 0 else []
        return parts + ([f"si_int={fields.i32(24)}", f"si_ptr={address(fields.u64(24))}"] if code in (-1, -3) else [])
    if number == SIGCHLD:
        status = fields.i32(24)
        shown = str(status) if code == 1 else signal_name(status)
        return [f"si_pid={fields.i32(16)}", f"si_uid={fields.u32(20)}", f"si_status={shown}"]
    if number in _FAULTS:
        return [f"si_addr={address(fields.u64(16))}"]
    if number == SIGSYS:
        return [
            f"si_call_addr={address(fields.u64(16))}",
            f"si_syscall={fields.i32(24)}",
            f"si_arch={fields.u32(28):#x}",
        ]
    return []


def sigaction(data: bytes) -> str:
    """The kernel's struct sigaction: handler, flags, restorer, mask."""
    fields = Fields(data)
    handler = {0: "SIG_DFL", 1: "SIG_IGN"}.get(fields.u64(0)) or hex(fields.u64(0))
    flags = flag_text("sigaction_flags", fields.u64(8))
    return f"{{sa_handler={handler}, sa_mask={sigset(fields.raw(24, 8))}, sa_flags={flags}}}"


def sigevent(data: bytes) -> str:
    """struct sigevent."""
    fields = Fields(data)
    notify = fields.i32(12)
    parts = [f"sigev_signo={signal_name(fields.i32(8))}", f"sigev_notify={flag_text('sigev_notify', notify)}"]
    if notify == 4:
        parts.append(f"sigev_notify_thread_id={fields.i32(16)}")
    return "{" + ", ".join(parts) + "}"


def signal_stack(data: bytes) -> str:
    """stack_t of sigaltstack."""
    fields = Fields(data)
    flags = {0: "0", 1: "SS_ONSTACK", 2: "SS_DISABLE"}.get(fields.u32(8)) or hex(fields.u32(8))
    return f"{{ss_sp={address(fields.u64(0))}, ss_flags={flags}, ss_size={fields.u64(16)}}}"


def sigset_argpack(data: bytes, context: Context) -> str:
    """The pair of pointer and size that pselect6 takes as its last argument."""
    fields = Fields(data)
    pointer, size = fields.u64(0), fields.u64(8)
    mask = context.read(pointer, size, out=False) if 0 < size <= 8 else None
    return f"{{sigmask={sigset(mask) if mask else address(pointer)}, sigsetsize={size}}}"


def clone_flags_text(value: int) -> str:
    """Flags of clone and unshare: the lowest byte is the signal sent at exit."""
    flags = flag_text("clone_flags", value & ~0xFF)
    if not value & 0xFF:
        return flags
    name = signal_name(value & 0xFF)
    return name if flags == "0" else f"{flags}|{name}"


def exit_signal(value: int) -> str:
    """exit_signal of clone_args."""
    return signal_name(signed32(value)) if value else "0"
