//! `compress` and `uncompress`: zlib streams.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, Decompress, FlushDecompress, Status as Progress};

use super::{Answer, charge};
use crate::guest::GuestCaller;
use crate::types::Status;

/// Instructions a byte of input costs to compress, and a byte of output to uncompress.
const COMPRESS: u64 = 16;
const UNCOMPRESS: u64 = 2;

pub(super) fn compress<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    charge(caller, args.len(), COMPRESS)?;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(&args).and_then(|()| encoder.finish());
    match written {
        Ok(stream) => Ok(stream.into()),
        Err(_) => Err(Status::SerializationFailure.into()),
    }
}

/// Bytes behind the stream's end are left alone, as by zlib itself. A stream that would
/// come to more than the guest's memory may hold is refused, and every piece of what it
/// becomes is charged as it comes.
pub(super) fn uncompress<C: GuestCaller>(caller: &mut C, args: Bytes) -> Answer {
    const PIECE: usize = 32 << 10;
    let most = caller.state().settings.limits.memory;
    let mut stream = Decompress::new(true);
    let mut out = Vec::new();
    loop {
        charge(caller, PIECE, UNCOMPRESS)?;
        let (read, before) = (stream.total_in(), out.len());
        let rest = usize::try_from(read).ok().and_then(|at| args.get(at..));
        out.reserve_exact(PIECE);
        let progress = stream
            .decompress_vec(rest.unwrap_or_default(), &mut out, FlushDecompress::None)
            .map_err(|_| Status::SerializationFailure)?;
        if out.len() > most {
            return Err(Status::SerializationFailure.into());
        }
        if progress == Progress::StreamEnd {
            return Ok(out.into());
        }
        if stream.total_in() == read && out.len() == before {
            // Cut short.
            return Err(Status::SerializationFailure.into());
        }
    }
}
