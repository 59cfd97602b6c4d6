//! Messages as prost reads and writes them, after a look at how many entries their lists have: prost takes memory for each of them
//! before anybody could say no, and an empty input has two bytes on the wire and three hundred here.

use crate::protocol::{MOST_TENSORS, Refusal};
use server::body::pay;
use server::budget::Share;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// Sides of a shape, and parameters of a request or of a tensor.
const MOST_SMALL: usize = 64;

/// A field with entries, and how many of them there may be.
#[derive(Debug, Clone, Copy)]
struct Field {
    tag: u64,
    name: &'static str,
    most: usize,
    /// What is in each of them.
    inner: &'static [Field],
    /// Numbers that may lie packed in one piece: each ends with a byte below 128.
    is_packed: bool,
}

impl Field {
    const fn new(tag: u64, name: &'static str, most: usize, inner: &'static [Field]) -> Self {
        Self { tag, name, most, inner, is_packed: false }
    }

    const fn numbers(tag: u64, name: &'static str, most: usize) -> Self {
        Self { tag, name, most, inner: &[], is_packed: true }
    }
}

/// By the numbers of `ModelInferRequest`; each text of an input costs six times what it is on the wire, which is no more than a number
/// in JSON does.
const TENSOR: &[Field] =
    &[Field::numbers(3, "sides of a shape", MOST_SMALL), Field::new(4, "parameters of an input", MOST_SMALL, &[])];
const OUTPUT: &[Field] = &[Field::new(2, "parameters of an output", MOST_SMALL, &[])];
const REQUEST: &[Field] = &[
    Field::new(4, "parameters", MOST_SMALL, &[]),
    Field::new(5, "inputs", MOST_TENSORS, TENSOR),
    Field::new(6, "outputs", MOST_TENSORS, OUTPUT),
    Field::new(7, "raw_input_contents", MOST_TENSORS, &[]),
];

/// Checks a `ModelInferRequest` on the wire. What is not well-formed is left to prost, which says where.
///
/// # Errors
/// 400 with the list that has too many entries.
pub(super) fn check_request(message: &[u8]) -> Result<(), Refusal> {
    check(message, REQUEST)
}

fn check(mut message: &[u8], fields: &[Field]) -> Result<(), Refusal> {
    let mut counts = [0_usize; 8];
    while let Some((tag, content)) = next(&mut message) {
        let Some((place, field)) = fields.iter().enumerate().find(|(_, field)| field.tag == tag) else { continue };
        counts[place] += match content {
            Some(packed) if field.is_packed => packed.iter().filter(|byte| **byte < 0x80).count(),
            _ => 1,
        };
        if counts[place] > field.most {
            return Err(Refusal::bad(format!("more than {} {}, the most that is read", field.most, field.name)));
        }
        if let Some(inner) = content {
            check(inner, field.inner)?;
        }
    }
    Ok(())
}

/// The next field: its number, and its bytes where it has a length. `None` at the end, or where the rest is not well-formed.
fn next<'a>(message: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = number(message)?;
    let mut take = |length: u64| {
        let (taken, rest) = message.split_at_checked(usize::try_from(length).ok()?)?;
        *message = rest;
        Some(taken)
    };
    let content = match key & 7 {
        0 => {
            number(message)?;
            None
        }
        1 => {
            take(8)?;
            None
        }
        2 => {
            let length = number(message)?;
            let (taken, rest) = message.split_at_checked(usize::try_from(length).ok()?)?;
            *message = rest;
            Some(taken)
        }
        5 => {
            take(4)?;
            None
        }
        _ => return None,
    };
    Some((key >> 3, content))
}

/// A number of variable length.
fn number(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place).unwrap_or_default();
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// What a call has paid for its message.
pub(super) type Paid = Arc<Mutex<Share>>;

/// Looks at each message before prost does, and pays for what came out of one that was compressed.
#[derive(Debug)]
pub(super) struct Checked<E, D> {
    check: fn(&[u8]) -> Result<(), Refusal>,
    paid: Paid,
    kinds: PhantomData<(E, D)>,
}

impl<E, D> Checked<E, D> {
    pub fn new(check: fn(&[u8]) -> Result<(), Refusal>, paid: Paid) -> Self {
        Self { check, paid, kinds: PhantomData }
    }
}

impl<E, D> Codec for Checked<E, D>
where
    E: prost::Message + Send + 'static,
    D: prost::Message + Default + Send + 'static,
{
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = CheckedDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<E, D>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder { check: self.check, paid: Arc::clone(&self.paid), kind: PhantomData }
    }
}

#[derive(Debug)]
pub(super) struct CheckedDecoder<D> {
    check: fn(&[u8]) -> Result<(), Refusal>,
    paid: Paid,
    kind: PhantomData<D>,
}

impl<D: prost::Message + Default> Decoder for CheckedDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        use prost::bytes::Buf;
        // tonic hands over whole messages in one piece. What it decompresses is here for this look alone: whatever cannot be paid for
        // goes again before another message is read on this thread.
        let length = message.remaining();
        pay(&mut self.paid.lock().unwrap_or_else(PoisonError::into_inner), length).map_err(super::status)?;
        (self.check)(message.chunk()).map_err(super::status)?;
        let decoded = D::decode(message);
        decoded.map(Some).map_err(|error| Status::invalid_argument(format!("invalid message: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{InferParameter, InferTensor, ModelInferRequest, RequestedOutput};
    use super::*;
    use prost::Message;

    fn refused(message: &ModelInferRequest) -> String {
        check_request(&message.encode_to_vec()).expect_err("refused").message
    }

    #[test]
    fn lists_are_counted_on_the_wire() {
        let tensor = InferTensor { name: "x".into(), shape: vec![1, 300, 2], ..InferTensor::default() };
        let output = RequestedOutput { name: "y".into(), ..RequestedOutput::default() };
        let usual = ModelInferRequest {
            model_name: "m".into(),
            inputs: vec![tensor.clone(); MOST_TENSORS],
            outputs: vec![output.clone(); MOST_TENSORS],
            raw_input_contents: vec![vec![0xff; 1_000]; MOST_TENSORS],
            parameters: (0..MOST_SMALL).map(|at| (at.to_string(), InferParameter::default())).collect(),
            ..ModelInferRequest::default()
        };
        assert_eq!(check_request(&usual.encode_to_vec()), Ok(()));
        let one_more = |change: fn(&mut ModelInferRequest)| {
            let mut message = usual.clone();
            change(&mut message);
            refused(&message)
        };
        assert_eq!(one_more(|it| it.inputs.push(InferTensor::default())), "more than 64 inputs, the most that is read");
        assert!(one_more(|it| it.outputs.push(RequestedOutput::default())).contains("64 outputs"));
        assert!(one_more(|it| it.raw_input_contents.push(Vec::new())).contains("64 raw_input_contents"));
        assert!(
            one_more(|it| drop(it.parameters.insert("x".into(), InferParameter::default()))).contains("64 parameters")
        );
        assert!(one_more(|it| it.inputs[3].shape = vec![1; 65]).contains("64 sides of a shape"));
        assert!(one_more(|it| it.inputs[3].shape = vec![i64::MAX; 65]).contains("64 sides of a shape"));
        // Eight million empty inputs, as prost would take three hundred bytes for each of.
        assert!(check_request(&[0x2a, 0].repeat(8_000_000)).is_err());
    }

    #[test]
    fn what_is_not_well_formed_is_left_to_prost_and_ends() {
        for bytes in [&b""[..], b"\xff", b"\x2a\xff\xff\xff\xff\x0f", b"\x2a", b"\x2f", b"\x2d\x01", &[0xff; 40]] {
            assert_eq!(check_request(bytes), Ok(()), "{bytes:?}");
        }
    }
}
