//! A named list of values with a shape.

use super::{Datatype, Refusal};

/// Elements, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Values {
    /// No element.
    #[default]
    None,
    /// Numbers and truth values; NaN = missing.
    Numbers(Vec<f64>),
    /// Text.
    Texts(Vec<String>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its elements.
    pub values: Values,
}

impl Tensor {
    /// Checks that elements, shape and type agree.
    ///
    /// # Errors
    /// 400 with the tensor's name, what was promised and what came.
    pub fn new(name: String, shape: &[i64], datatype: Datatype, values: Values) -> Result<Self, Refusal> {
        let mut wanted = 1_usize;
        let mut dimensions = Vec::with_capacity(shape.len());
        for side in shape {
            let side = usize::try_from(*side).map_err(|_| {
                Refusal::bad(format!("shape {shape:?} of tensor `{name}` has the side {side}; sides are at least 0"))
            })?;
            wanted = wanted.checked_mul(side).ok_or_else(|| {
                Refusal::bad(format!("shape {shape:?} of tensor `{name}` has more elements than can be counted"))
            })?;
            dimensions.push(side);
        }
        if values.len() != wanted {
            return Err(Refusal::bad(format!(
                "tensor `{name}` has {} elements, its shape {shape:?} wants {wanted}",
                values.len()
            )));
        }
        let is_text = datatype == Datatype::Bytes;
        match &values {
            Values::Texts(_) if !is_text => {
                return Err(Refusal::bad(format!("tensor `{name}` is {} and holds text", datatype.as_str())));
            }
            Values::Numbers(_) if is_text => {
                return Err(Refusal::bad(format!("tensor `{name}` is BYTES and holds numbers")));
            }
            Values::Numbers(numbers) => {
                if let Some((at, value)) = numbers.iter().enumerate().find(|(_, value)| !datatype.holds(**value)) {
                    return Err(Refusal::bad(format!(
                        "element {at} of tensor `{name}` is {value}, which {} cannot hold here",
                        datatype.as_str()
                    )));
                }
            }
            _ => {}
        }
        Ok(Self { name, shape: dimensions, datatype, values })
    }

    /// An output of numbers, one dimension.
    pub fn numbers(name: impl Into<String>, datatype: Datatype, numbers: Vec<f64>) -> Self {
        Self { name: name.into(), shape: vec![numbers.len()], datatype, values: Values::Numbers(numbers) }
    }

    /// An output of text, one dimension.
    pub fn texts(name: impl Into<String>, texts: Vec<String>) -> Self {
        Self { name: name.into(), shape: vec![texts.len()], datatype: Datatype::Bytes, values: Values::Texts(texts) }
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::None => 0,
            Values::Numbers(numbers) => size_of_val(&numbers[..]),
            Values::Texts(texts) => texts.iter().map(|text| size_of::<String>() + text.len()).sum(),
        };
        size_of::<Self>() + self.name.len() + size_of_val(&self.shape[..]) + values
    }

    /// Rows of `width` columns as single precision.
    ///
    /// # Errors
    /// 400 when it is no matrix of that width, or a value is beyond single precision.
    pub fn rows(&self, width: usize) -> Result<(usize, Vec<f32>), Refusal> {
        let &[rows, columns] = &self.shape[..] else {
            return Err(Refusal::bad(format!(
                "tensor `{}` has the shape {:?}, want [rows, {width}]",
                self.name, self.shape
            )));
        };
        if columns != width {
            return Err(Refusal::bad(format!("tensor `{}` has {columns} columns, the model reads {width}", self.name)));
        }
        let numbers = self.as_numbers()?;
        let mut values = Vec::with_capacity(numbers.len());
        for (at, number) in numbers.iter().enumerate() {
            let value = *number as f32;
            if value.is_infinite() {
                return Err(Refusal::bad(format!(
                    "row {} column {} of tensor `{}` is {number}, beyond single precision",
                    at / width.max(1),
                    at % width.max(1),
                    self.name
                )));
            }
            values.push(value);
        }
        Ok((rows, values))
    }

    /// Its numbers.
    ///
    /// # Errors
    /// 400 when it holds text.
    pub fn as_numbers(&self) -> Result<&[f64], Refusal> {
        match &self.values {
            Values::None => Ok(&[]),
            Values::Numbers(numbers) => Ok(numbers),
            Values::Texts(_) => Err(Refusal::bad(format!("tensor `{}` holds text, want numbers", self.name))),
        }
    }

    /// Its texts.
    ///
    /// # Errors
    /// 400 when it holds numbers.
    pub fn as_texts(&self) -> Result<&[String], Refusal> {
        match &self.values {
            Values::None => Ok(&[]),
            Values::Texts(texts) => Ok(texts),
            Values::Numbers(_) => Err(Refusal::bad(format!("tensor `{}` holds numbers, want text (BYTES)", self.name))),
        }
    }
}
