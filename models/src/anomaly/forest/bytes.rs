//! A forest as bytes: little-endian, ten bytes a split and two a leaf where splits are straight.

use super::slanted::{Slant, SlantedTrees, Term};
use super::straight::{Split, StraightTrees};
use super::{ForestSettings, IsolationForest, MOST_PLACES, Trees};
use crate::ModelError;

/// The first bytes of a file; the last one is the version.
const MAGIC: [u8; 8] = *b"BERTHIF\x01";
/// Stands for a leaf where a split has its count of rows, which is at most half of a tree's.
const LEAF: u16 = 0xffff;

impl IsolationForest {
    /// The same bytes for the same forest.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let ForestSettings { trees, samples, extension } = self.settings;
        for number in [trees, samples, extension, self.width, self.samples] {
            bytes.extend((number as u32).to_le_bytes());
        }
        match &self.trees {
            Trees::Straight(trees) => {
                for node in trees.preorders().into_iter().flatten() {
                    let Some(Split { feature, threshold, fewer }) = node else {
                        bytes.extend(LEAF.to_le_bytes());
                        continue;
                    };
                    bytes.extend(fewer.to_le_bytes());
                    bytes.extend(feature.to_le_bytes());
                    bytes.extend(threshold.to_le_bytes());
                }
            }
            Trees::Slanted(trees) => {
                for node in trees.preorders().into_iter().flatten() {
                    let Some(Slant { terms, fewer }) = node else {
                        bytes.extend(LEAF.to_le_bytes());
                        continue;
                    };
                    bytes.extend(fewer.to_le_bytes());
                    bytes.extend((terms.len() as u16).to_le_bytes());
                    for Term { feature, coefficient, point } in terms {
                        bytes.extend(feature.to_le_bytes());
                        bytes.extend(coefficient.to_le_bytes());
                        bytes.extend(point.to_le_bytes());
                    }
                }
            }
        }
        bytes
    }

    /// Reads what [`IsolationForest::to_bytes`] wrote; `file` goes into the message.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] for bytes that are no forest, cut, or too many, and for a forest that takes too much memory.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        Self::from_bytes_within(file, bytes, MOST_PLACES)
    }

    /// The same where so many places for splits are left.
    pub(in crate::anomaly) fn from_bytes_within(
        file: &str,
        bytes: &[u8],
        places_left: usize,
    ) -> Result<Self, ModelError> {
        let damaged = |problem: &str| ModelError::damaged(file, problem);
        let mut reader = Reader { bytes };
        if reader.take::<8>() != Some(MAGIC) {
            return Err(damaged("it does not begin as a forest of this version does"));
        }
        let mut number = || reader.take().map(|bytes| u32::from_le_bytes(bytes) as usize);
        let header = || Some([number()?, number()?, number()?, number()?, number()?]);
        let Some([trees, samples, extension, width, used]) = { header }() else {
            return Err(damaged("it ends within its settings"));
        };
        let settings = ForestSettings { trees, samples, extension };
        settings.validate(width).map_err(|problem| ModelError::damaged(file, problem))?;
        if used < 2 || used > samples {
            return Err(damaged("its trees have an impossible number of rows"));
        }
        let places = settings.places(used);
        if places > places_left {
            return Err(damaged(&format!(
                "its {trees} trees have {places} places for splits, {places_left} of {MOST_PLACES} are left for it"
            )));
        }
        let cut = || damaged("it ends within a tree");
        let grown = if extension == 0 {
            let grown = read_trees(trees, || reader.split()).ok_or_else(cut)?;
            Trees::Straight(StraightTrees::new(&grown, used).map_err(|problem| ModelError::damaged(file, problem))?)
        } else {
            let grown = read_trees(trees, || reader.slant()).ok_or_else(cut)?;
            Trees::Slanted(SlantedTrees::new(&grown, used).map_err(|problem| ModelError::damaged(file, problem))?)
        };
        let highest = match &grown {
            Trees::Straight(trees) => trees.highest_feature(),
            Trees::Slanted(trees) => trees.highest_feature(),
        };
        if highest >= width {
            return Err(damaged("a split looks at a feature that it does not have"));
        }
        if !reader.bytes.is_empty() {
            return Err(damaged("bytes follow its last tree"));
        }
        Ok(Self { settings, width, samples: used, trees: grown })
    }
}

/// Reads nodes until each tree is complete: every split opens two places, every node takes one.
fn read_trees<N>(trees: usize, mut node: impl FnMut() -> Option<Option<N>>) -> Option<Vec<Vec<Option<N>>>> {
    let mut all = Vec::new();
    for _ in 0..trees {
        let (mut open, mut nodes) = (1_usize, Vec::new());
        while open > 0 {
            let node = node()?;
            open = if node.is_some() { open + 1 } else { open - 1 };
            nodes.push(node);
        }
        all.push(nodes);
    }
    Some(all)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    /// A number that a comparison survives.
    fn float(&mut self) -> Option<f32> {
        self.take().map(f32::from_le_bytes).filter(|value| value.is_finite())
    }

    fn split(&mut self) -> Option<Option<Split>> {
        let fewer = self.short()?;
        if fewer == LEAF {
            return Some(None);
        }
        Some(Some(Split { fewer, feature: self.short()?, threshold: self.float()? }))
    }

    fn slant(&mut self) -> Option<Option<Slant>> {
        let fewer = self.short()?;
        if fewer == LEAF {
            return Some(None);
        }
        let count = self.short()?;
        let mut term = || Some(Term { feature: self.short()?, coefficient: self.float()?, point: self.float()? });
        let terms = (0..count).map(|_| term()).collect::<Option<_>>()?;
        Some(Some(Slant { fewer, terms }))
    }
}
