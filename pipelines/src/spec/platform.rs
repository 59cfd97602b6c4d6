//! The platform document: what only Kubernetes needs to know. The local runner takes the time limits from it.

use super::pipeline::InputParameter;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Platforms; only Kubernetes is known.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformSpec {
    /// By platform.
    pub platforms: Platforms,
}

/// The platforms that a definition may name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Platforms {
    /// Kubernetes.
    pub kubernetes: KubernetesPlatform,
}

/// What Kubernetes needs to know.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct KubernetesPlatform {
    /// By executor label.
    pub deployment_spec: KubernetesDeployment,
}

/// Settings by executor label.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesDeployment {
    /// By executor label.
    pub executors: BTreeMap<String, KubernetesExecutor>,
}

/// Settings of one executor's pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct KubernetesExecutor {
    /// Seconds after which an attempt is killed, here and in Kubernetes.
    pub active_deadline_seconds: Option<u64>,
    /// `Always`, `Never` or `IfNotPresent`.
    pub image_pull_policy: Option<String>,
    /// Shared volumes.
    pub pvc_mount: Vec<VolumeMount>,
    /// Settings from a ConfigMap.
    pub config_map_as_env: Vec<ConfigMapAsEnv>,
    /// Credentials from a Secret.
    pub secret_as_env: Vec<SecretAsEnv>,
}

/// A shared volume in the pod.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VolumeMount {
    /// Where it is in the container.
    pub mount_path: String,
    /// Name of the PersistentVolumeClaim, for servers before 2.15.
    pub constant: Option<String>,
    /// Name of the PersistentVolumeClaim.
    pub pvc_name_parameter: InputParameter,
}

/// Environment variables from a ConfigMap.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMapAsEnv {
    /// Name of the ConfigMap.
    pub config_map_name_parameter: InputParameter,
    /// Which key becomes which variable.
    pub key_to_env: Vec<ConfigMapKey>,
    /// Whether the pod starts without it.
    #[serde(default)]
    pub optional: bool,
}

/// One key of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// The key.
    pub config_map_key: String,
    /// The variable.
    pub env_var: String,
}

/// Environment variables from a Secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretAsEnv {
    /// Name of the Secret.
    pub secret_name_parameter: InputParameter,
    /// Which key becomes which variable.
    pub key_to_env: Vec<SecretKey>,
    /// Whether the pod starts without it.
    #[serde(default)]
    pub optional: bool,
}

/// One key of a Secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretKey {
    /// The key.
    pub secret_key: String,
    /// The variable.
    pub env_var: String,
}
