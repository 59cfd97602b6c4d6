//! The protocol's names of element types.

use super::Refusal;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp32,
    Fp64,
    Bytes,
}

const NAMES: [(Datatype, &str); 12] = [
    (Datatype::Bool, "BOOL"),
    (Datatype::Uint8, "UINT8"),
    (Datatype::Uint16, "UINT16"),
    (Datatype::Uint32, "UINT32"),
    (Datatype::Uint64, "UINT64"),
    (Datatype::Int8, "INT8"),
    (Datatype::Int16, "INT16"),
    (Datatype::Int32, "INT32"),
    (Datatype::Int64, "INT64"),
    (Datatype::Fp32, "FP32"),
    (Datatype::Fp64, "FP64"),
    (Datatype::Bytes, "BYTES"),
];

impl Datatype {
    /// The protocol's name.
    pub fn as_str(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Reads the protocol's name; `tensor` goes into the message.
    ///
    /// # Errors
    /// A name that the protocol does not have, or half precision, which is not read.
    pub fn parse(name: &str, tensor: &str) -> Result<Self, Refusal> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(datatype, _)| *datatype).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(_, known)| *known).collect();
            Refusal::bad(format!("datatype `{name}` of tensor `{tensor}` is not read; one of {} is", known.join(", ")))
        })
    }

    /// Bytes of an element in the binary extension; `None` where they vary.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Whether a number of this type may have this value; `true` for a missing one in a floating type.
    pub(super) fn holds(self, value: f64) -> bool {
        let whole = |low: f64, high: f64| value.fract() == 0.0 && (low..=high).contains(&value);
        match self {
            Self::Bool => value == 0.0 || value == 1.0,
            Self::Uint8 => whole(0.0, f64::from(u8::MAX)),
            Self::Uint16 => whole(0.0, f64::from(u16::MAX)),
            Self::Uint32 => whole(0.0, f64::from(u32::MAX)),
            Self::Uint64 => whole(0.0, u64::MAX as f64),
            Self::Int8 => whole(f64::from(i8::MIN), f64::from(i8::MAX)),
            Self::Int16 => whole(f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::Int32 => whole(f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::Int64 => whole(i64::MIN as f64, i64::MAX as f64),
            Self::Fp32 | Self::Fp64 => !value.is_infinite(),
            Self::Bytes => false,
        }
    }

    /// The number in an element's bytes, little-endian; `None` for text or another length.
    pub(super) fn number(self, bytes: &[u8]) -> Option<f64> {
        macro_rules! read {
            ($kind:ty) => {
                <$kind>::from_le_bytes(bytes.try_into().ok()?) as f64
            };
        }
        Some(match self {
            Self::Bool | Self::Uint8 => read!(u8),
            Self::Uint16 => read!(u16),
            Self::Uint32 => read!(u32),
            Self::Uint64 => read!(u64),
            Self::Int8 => read!(i8),
            Self::Int16 => read!(i16),
            Self::Int32 => read!(i32),
            Self::Int64 => read!(i64),
            Self::Fp32 => read!(f32),
            Self::Fp64 => read!(f64),
            Self::Bytes => return None,
        })
    }

    /// Appends a number's bytes, little-endian.
    pub(super) fn write(self, value: f64, bytes: &mut Vec<u8>) {
        match self {
            Self::Bool | Self::Uint8 => bytes.push(value as u8),
            Self::Uint16 => bytes.extend((value as u16).to_le_bytes()),
            Self::Uint32 => bytes.extend((value as u32).to_le_bytes()),
            Self::Uint64 => bytes.extend((value as u64).to_le_bytes()),
            Self::Int8 => bytes.extend((value as i8).to_le_bytes()),
            Self::Int16 => bytes.extend((value as i16).to_le_bytes()),
            Self::Int32 => bytes.extend((value as i32).to_le_bytes()),
            Self::Int64 => bytes.extend((value as i64).to_le_bytes()),
            Self::Fp32 => bytes.extend((value as f32).to_le_bytes()),
            Self::Fp64 => bytes.extend(value.to_le_bytes()),
            Self::Bytes => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_bytes_agree() {
        for (place, (datatype, name)) in NAMES.iter().enumerate() {
            assert_eq!((*datatype as usize, datatype.as_str()), (place, *name));
            assert_eq!(Datatype::parse(name, "x").ok(), Some(*datatype));
            let Some(width) = datatype.width() else { continue };
            let mut bytes = Vec::new();
            datatype.write(1.0, &mut bytes);
            assert_eq!((bytes.len(), datatype.number(&bytes)), (width, Some(1.0)), "{name}");
            assert!(datatype.holds(1.0) && !datatype.holds(f64::INFINITY), "{name}");
        }
        assert!(!Datatype::Uint8.holds(256.0) && !Datatype::Int8.holds(0.5) && !Datatype::Bool.holds(2.0));
        let error = Datatype::parse("FP16", "rows").expect_err("half precision").message;
        assert!(error.contains("`FP16`") && error.contains("`rows`"), "{error}");
    }
}
