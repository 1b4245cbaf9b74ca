//! Files, directories and sockets: there are none, and every call says so in the way
//! section 1.8 has it.

use super::{BADF, Errno, NOENT, NOSYS, NOTDIR, NOTSUP, SUCCESS, guarded, is_output};
use crate::guest::{self, GuestCaller};
use crate::types::LogLevel;

const fn only_outputs(fd: u32) -> Errno {
    Ok(if is_output(fd) { SUCCESS } else { BADF })
}

pub(crate) fn unsupported_4<C: GuestCaller>(_: &mut C, _: u32, _: u32, _: u32, _: u32) -> Errno {
    Ok(NOSYS)
}

pub(crate) fn fd_pread<C: GuestCaller>(_: &mut C, _: u32, _: u32, _: u32, _: u64, _: u32) -> Errno {
    Ok(NOSYS)
}

pub(crate) fn fd_seek<C: GuestCaller>(caller: &mut C, fd: u32, _: u64, _: u32, _: u32) -> Errno {
    caller.state().log(
        LogLevel::Trace,
        format!("fd_seek on {fd} ignored").as_bytes(),
    );
    Ok(SUCCESS)
}

pub(crate) fn fd_close<C: GuestCaller>(_: &mut C, _: u32) -> Errno {
    Ok(SUCCESS)
}

pub(crate) fn fd_fdstat_get<C: GuestCaller>(caller: &mut C, fd: u32, out: u32) -> Errno {
    const FD_WRITE: u64 = 64;
    if !is_output(fd) {
        return Ok(BADF);
    }
    guarded(caller, |memory, _| {
        let place = guest::bytes_mut(memory, out, 24)?;
        place.fill(0);
        place[8..16].copy_from_slice(&FD_WRITE.to_le_bytes());
        Ok(SUCCESS)
    })
}

pub(crate) fn fd_fdstat_set_flags<C: GuestCaller>(_: &mut C, _: u32, _: u32) -> Errno {
    Ok(NOSYS)
}

pub(crate) fn fd_fdstat_set_rights<C: GuestCaller>(_: &mut C, fd: u32, _: u64, _: u64) -> Errno {
    only_outputs(fd)
}

pub(crate) fn bad_descriptor<C: GuestCaller>(_: &mut C, _: u32, _: u32) -> Errno {
    Ok(BADF)
}

pub(crate) fn fd_prestat_dir_name<C: GuestCaller>(_: &mut C, _: u32, _: u32, _: u32) -> Errno {
    Ok(NOSYS)
}

pub(crate) fn fd_filestat_set_size<C: GuestCaller>(_: &mut C, fd: u32, _: u64) -> Errno {
    only_outputs(fd)
}

pub(crate) fn fd_filestat_set_times<C: GuestCaller>(
    _: &mut C,
    fd: u32,
    _: u64,
    _: u64,
    _: u32,
) -> Errno {
    only_outputs(fd)
}

pub(crate) fn fd_sync<C: GuestCaller>(_: &mut C, fd: u32) -> Errno {
    only_outputs(fd)
}

pub(crate) fn fd_advise<C: GuestCaller>(_: &mut C, _: u32, _: u64, _: u64, _: u32) -> Errno {
    Ok(SUCCESS)
}

pub(crate) fn fd_tell<C: GuestCaller>(caller: &mut C, fd: u32, out: u32) -> Errno {
    if !is_output(fd) {
        return Ok(BADF);
    }
    guarded(caller, |memory, _| {
        guest::write_u64(memory, out, 0).map(|()| SUCCESS)
    })
}

pub(crate) fn fd_readdir<C: GuestCaller>(
    c: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u64,
    out: u32,
) -> Errno {
    guarded(c, |memory, _| {
        guest::write_u32(memory, out, 0).map(|()| NOTDIR)
    })
}

pub(crate) fn fd_renumber<C: GuestCaller>(_: &mut C, from: u32, to: u32) -> Errno {
    Ok(if is_output(from) && is_output(to) {
        NOTSUP
    } else {
        BADF
    })
}

#[expect(clippy::too_many_arguments, reason = "WASI has that many")]
pub(crate) fn path_open<C: GuestCaller>(
    _: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u64,
    _: u64,
    _: u32,
    _: u32,
) -> Errno {
    Ok(NOENT)
}

pub(crate) fn path_3<C: GuestCaller>(_: &mut C, _: u32, _: u32, _: u32) -> Errno {
    Ok(NOTSUP)
}

pub(crate) fn path_5<C: GuestCaller>(_: &mut C, _: u32, _: u32, _: u32, _: u32, _: u32) -> Errno {
    Ok(NOTSUP)
}

pub(crate) fn path_6<C: GuestCaller>(
    _: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Errno {
    Ok(NOTSUP)
}

#[expect(clippy::too_many_arguments, reason = "WASI has that many")]
pub(crate) fn path_7<C: GuestCaller>(
    _: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Errno {
    Ok(NOTSUP)
}

#[expect(clippy::too_many_arguments, reason = "WASI has that many")]
pub(crate) fn path_filestat_set_times<C: GuestCaller>(
    _: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u64,
    _: u64,
    _: u32,
) -> Errno {
    Ok(NOTSUP)
}

pub(crate) fn path_readlink<C: GuestCaller>(
    caller: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    out: u32,
) -> Errno {
    guarded(caller, |memory, _| {
        guest::write_u32(memory, out, 0).map(|()| NOTSUP)
    })
}

pub(crate) fn sock_accept<C: GuestCaller>(caller: &mut C, _: u32, _: u32, out: u32) -> Errno {
    guarded(caller, |memory, _| {
        guest::write_u32(memory, out, 0).map(|()| NOTSUP)
    })
}

pub(crate) fn sock_recv<C: GuestCaller>(
    c: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    out: u32,
    flags: u32,
) -> Errno {
    guarded(c, |memory, _| {
        guest::write_u32(memory, out, 0)?;
        guest::bytes_mut(memory, flags, 2)?.fill(0);
        Ok(NOTSUP)
    })
}

pub(crate) fn sock_send<C: GuestCaller>(
    caller: &mut C,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    out: u32,
) -> Errno {
    guarded(caller, |memory, _| {
        guest::write_u32(memory, out, 0).map(|()| NOTSUP)
    })
}

pub(crate) fn sock_shutdown<C: GuestCaller>(_: &mut C, _: u32, _: u32) -> Errno {
    Ok(NOTSUP)
}
