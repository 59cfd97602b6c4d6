//! What `Content-Encoding` names, taken apart piece by piece. flate2 does it directly, since tower-http's layer would have Polars, which
//! reaches tower-http by way of its object stores, compiled once more for every set of features.

use super::Held;
use crate::ApiError;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use std::io::{self, Write};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// The zlib format, as RFC 9110 (section 8.4.1.2) has it.
    Deflate,
}

/// A body on its way from compressed pieces to what they stand for.
pub(super) enum Decoder {
    Gzip(MultiGzDecoder<Out>),
    Deflate(ZlibDecoder<Out>),
}

/// What has come out. It refuses what goes beyond the limit, whereupon the decoder stops.
pub(super) struct Out {
    held: Held,
    refused: Option<ApiError>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.held.extend(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.refused = Some(error);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Decoder {
    pub fn new(encoding: Encoding, held: Held) -> Self {
        let out = Out { held, refused: None };
        match encoding {
            Encoding::Gzip => Self::Gzip(MultiGzDecoder::new(out)),
            Encoding::Deflate => Self::Deflate(ZlibDecoder::new(out)),
        }
    }

    fn out(&mut self) -> &mut Out {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
        }
    }

    fn told(&mut self, done: io::Result<()>) -> Result<(), ApiError> {
        let refused = self.out().refused.take();
        done.map_err(|error| {
            refused.unwrap_or_else(|| ApiError::bad(format!("the body is not what its content encoding says: {error}")))
        })
    }

    /// Takes in a piece.
    pub fn put(&mut self, piece: &[u8]) -> Result<(), ApiError> {
        let done = match self {
            Self::Gzip(decoder) => decoder.write_all(piece),
            Self::Deflate(decoder) => decoder.write_all(piece),
        };
        self.told(done)
    }

    /// All that has come out, once the end is there.
    pub fn finish(mut self) -> Result<Held, ApiError> {
        let done = match &mut self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
        };
        self.told(done)?;
        let out = match self {
            Self::Gzip(decoder) => decoder.finish(),
            Self::Deflate(decoder) => decoder.finish(),
        };
        let ended = |error| ApiError::bad(format!("the body is not what its content encoding says: {error}"));
        Ok(out.map_err(ended)?.held)
    }
}
