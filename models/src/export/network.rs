//! The placement agent as ONNX: `value = features × skip + mlp(features)`.

use super::messages::{Model, Node, Tensor};
use crate::placement::PlacementNetwork;
use prost::Message;

pub(super) fn onnx(network: &PlacementNetwork) -> Vec<u8> {
    let width = network.features().len();
    let mut tensors = vec![Tensor::floats("skip.weight".to_owned(), &[width, 1], network.skip())];
    let mut nodes = Vec::new();
    let mut input = "features".to_owned();
    for (at, layer) in network.layers().iter().enumerate() {
        let name = |part: &str| format!("layers.{at}.{part}");
        tensors.push(Tensor::floats(name("weight"), &[layer.inputs, layer.outputs], &layer.weights));
        tensors.push(Tensor::floats(name("bias"), &[layer.outputs], &layer.bias));
        nodes.push(Node::new("Gemm", &[&input, &name("weight"), &name("bias")], &name("sum")));
        input = name("sum");
        if at + 1 < network.layers().len() {
            nodes.push(Node::new("Relu", &[&input], &name("unit")));
            input = name("unit");
        }
    }
    nodes.push(Node::new("MatMul", &["features", "skip.weight"], "linear"));
    nodes.push(Node::new("Add", &["linear", &input], "value"));
    Model::of(crate::artifact::PLACEMENT_AGENT, width, nodes, tensors).encode_to_vec()
}
