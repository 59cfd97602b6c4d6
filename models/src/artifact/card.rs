//! `MODEL_CARD.md`: what a person should know before trusting the model.

use super::ArtifactMetadata;
use std::fmt::Write;

/// Where the text of [`model_card`] lies.
pub const MODEL_CARD_FILE: &str = "MODEL_CARD.md";

/// The card in Markdown, from the metadata alone (sections after Mitchell et al., "Model Cards for Model Reporting",
/// 2019).
pub fn model_card(metadata: &ArtifactMetadata) -> String {
    let mut card = String::new();
    // Writing to a string cannot fail.
    let _ = write_card(&mut card, metadata);
    card
}

fn write_card(card: &mut String, metadata: &ArtifactMetadata) -> std::fmt::Result {
    let version = if metadata.version.is_empty() { "not registered yet" } else { &metadata.version };
    writeln!(card, "# {} ({version})\n", metadata.name)?;
    writeln!(card, "| | |\n|---|---|")?;
    writeln!(card, "| Algorithm | {} |", cell(&metadata.algorithm))?;
    writeln!(
        card,
        "| Trained | {}, {:.1} s, by {} |",
        cell(&metadata.trained_at),
        metadata.training_seconds,
        cell(&metadata.code)
    )?;
    writeln!(card, "| Data | `{}`, hash `{}` |", cell(&metadata.dataset.id), cell(&metadata.dataset.hash))?;
    writeln!(card, "| Features | {}, schema `{}` |\n", metadata.features.len(), metadata.feature_schema_hash)?;
    if let Some(judged) = &metadata.fresh_fit_of {
        writeln!(
            card,
            "A fresh fit: the recipe of model `{}`, fitted once more on all rows up to the end of the history. What was judged on \
             hours that nothing had learned from is that model; the figures below are its.\n",
            cell(judged)
        )?;
    }

    if !metadata.heads.is_empty() {
        writeln!(
            card,
            "## Use\n\nForecasts the CPU and memory utilization of a Kubernetes node (usage ÷ allocatable) as the mean of the \
             hour ending at each horizon: the median (P50), and a level that should hold nine times in ten (P90). Made to \
             compare nodes for placement. Not made for capacity planning over days, for single pods, or for alarms.\n"
        )?;
        writeln!(card, "## Heads\n")?;
        writeln!(
            card,
            "| head | baseline | answers | saving over the baseline | weight of the median booster | shift of P90 (points) |"
        )?;
        writeln!(card, "|---|---|---|---|---|---|")?;
        for head in &metadata.heads {
            let answers = if head.fallback { "baseline (no skill)" } else { "booster" };
            let saving =
                head.skill.map_or_else(|| "not measured".to_owned(), |skill| format!("{:.1} %", 100.0 * skill));
            writeln!(
                card,
                "| {} | {} | {answers} | {saving} | {} | {:+.2} |",
                head.key,
                cell(&head.baseline.to_string()),
                head.median_blend,
                100.0 * head.offset
            )?;
        }
        writeln!(
            card,
            "\nThe saving is measured on the rows that chose the weight and flatters slightly; the figures below are the test.\n"
        )?;
    }
    if !metadata.metrics.is_empty() {
        writeln!(card, "## Figures\n\n| figure | value |\n|---|---|")?;
        for (name, value) in &metadata.metrics {
            let value = value.map_or_else(|| "not defined".to_owned(), |value| format!("{value:.5}"));
            writeln!(card, "| {} | {value} |", cell(name))?;
        }
        writeln!(card)?;
    }
    if !metadata.top_features.is_empty() {
        writeln!(card, "## What mattered\n\n| feature | share of the gain |\n|---|---|")?;
        for importance in &metadata.top_features {
            writeln!(card, "| `{}` | {:.1} % |", cell(&importance.feature), 100.0 * importance.share)?;
        }
        writeln!(card)?;
    }
    if !metadata.hyper_parameters.is_empty() {
        writeln!(card, "## Settings\n\n| setting | value |\n|---|---|")?;
        for (name, value) in &metadata.hyper_parameters {
            writeln!(card, "| {} | `{}` |", cell(name), cell(&value.to_string()))?;
        }
        writeln!(card)?;
    }
    if metadata.name == super::PLACEMENT_AGENT {
        write_placement_limits(card)?;
        return write_files(card, metadata, PLACEMENT_FILES);
    }
    if metadata.name == super::ANOMALY_DETECTOR {
        if metadata.hyper_parameters.contains_key("table") {
            write_table_limits(card)?;
        } else {
            write_anomaly_limits(card)?;
        }
        return write_files(card, metadata, ANOMALY_FILES);
    }
    writeln!(
        card,
        "## Limits\n\n\
         - It repeats what the history shows. A deployment, a failover or a new workload that the features do not show yet is not foreseen.\n\
         - P90 keeps its promise on average over nodes and time while the load behaves as in the calibration rows; a single node may be off. \
         Recalibrate or retrain after changes.\n\
         - A node without recent samples gets no forecast rather than a low one.\n\
         - Where a head has no skill over its baseline, the baseline answers, and the table above says so.\n"
    )?;
    write_files(
        card,
        metadata,
        "The `.ubj` files are XGBoost models of the residual `target − baseline`; `heads.json` says how to add them up, and \
         `code/berth_load_predictor.py` does it in Python.",
    )
}

const PLACEMENT_FILES: &str = "`network.safetensors` is a network of fully connected layers with a linear part beside them; \
                               `code/berth_placement_agent.py` computes its values in Python.";
const ANOMALY_FILES: &str = "The `.bin` files are isolation forests, a `.ubj` file is an XGBoost model that tells faults from usual rows; `detector.json` \
                             says how they are calibrated and vote, and \
                             `code/berth_anomaly_detector.py` computes votes in Python.";

fn write_files(card: &mut String, metadata: &ArtifactMetadata, words: &str) -> std::fmt::Result {
    writeln!(card, "## Files\n\n| file | bytes | SHA-256 |\n|---|---|---|")?;
    for (name, digest) in &metadata.files {
        writeln!(card, "| `{}` | {} | `{}` |", cell(name), digest.bytes, digest.sha256)?;
    }
    writeln!(card, "\n{words}")
}

fn write_placement_limits(card: &mut String) -> std::fmt::Result {
    writeln!(
        card,
        "## Use\n\nScores the nodes that passed the filters for one pod: the higher the value, the less cost the pod is expected \
         to add there over its life. Values compare nodes for the same pod at the same moment and mean nothing else.\n\n\
         ## Limits\n\n\
         - It learned in a simulator, whose contention model is stated in the documentation and simpler than a kernel.\n\
         - It knows a workload by its history. For the first pods of a new workload it goes by requests.\n\
         - It never saw GPUs, taints or affinity: filters and other score plugins have to care for them.\n\
         - It learned that cost whose weights are among the settings. Other weights want another training.\n"
    )
}

fn write_table_limits(card: &mut String) -> std::fmt::Result {
    writeln!(
        card,
        "## Use\n\nTells which rows of a table are unlike the rows that it learned from: a vote over isolation forests on the \
         columns and, where the table has times, on their distance from the means of the rows before. One half is the threshold \
         of an alarm.\n\n\
         ## Limits\n\n\
         - Unlike is not bad, and what was going on all the time while it learned is usual to it.\n\
         - It knows the columns by name and by unit: a column that changes its unit makes every row odd.\n\
         - Windows count rows, not seconds. Rows that come at another pace than in training are another sequence.\n\
         - Figures above are of single rows at the table's end, which it had not learned from; nothing is point-adjusted.\n"
    )
}

fn write_anomaly_limits(card: &mut String) -> std::fmt::Result {
    writeln!(
        card,
        "## Use\n\nTells when a node behaves unlike its own past and unlike the cluster: a vote over isolation forests on CPU, \
         memory, network and disk, over minutes and over days, and over trees that learned injected faults. One half is the threshold of an alarm. Made to warn people and \
         to keep new pods away from troubled nodes. Not made to find the cause, to judge single pods, or to tell attacks.\n\n\
         ## Limits\n\n\
         - Unlike is not bad: a new workload, a load test or a rollout may raise an alarm.\n\
         - What was going on all the time while it learned is usual to it, good or bad.\n\
         - A slow change, such as a small memory leak, is seen when it has gone some way, not when it begins.\n\
         - Blame says which values this model went by, not what caused the trouble.\n\
         - Within its first day a node has no long windows, and only the short patterns and the rules see it.\n"
    )
}

/// A bar would end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
