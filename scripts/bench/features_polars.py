"""The node features that Polars has words for, from raw Parquet days to feature Parquet days: the peer of `features build`.

    features_polars.py RAW_NODE_METRICS_FOLDER OUT_FOLDER

The same columns as features_pandas.py: slots of five minutes, the grid completed before any window, windows need a
quarter of their slots. Prints the number of features.
"""

import pathlib
import sys

import polars as pl
from features_pandas import DEVICES, LAGS, LONG, PLAIN, UTILIZATION, WINDOWS


def least(size):
    return max(1, -(-size // 4))


def main(raw, out):
    used = [pl.col("cpu_used_cores") / pl.col("cpu_allocatable_cores"), pl.col("memory_used_bytes") / pl.col("memory_allocatable_bytes")]
    devices = [pl.sum_horizontal(parts).alias(name) for name, parts in DEVICES.items()]
    samples = (
        pl.scan_parquet(str(raw / "date=*" / "*.parquet"), hive_partitioning=False)
        .select("ts", "node", *UTILIZATION, *sum(DEVICES.values(), []), *PLAIN)
        .with_columns((pl.col("ts").dt.truncate("5m") + pl.duration(minutes=5)).alias("slot"), used[0].alias("cpu"), used[1].alias("memory"))
        .with_columns(devices)
    )
    slots = (
        samples.group_by("node", "slot")
        .agg(
            *[pl.col(name).mean() for name in ("cpu", "memory", *DEVICES, *PLAIN)],
            *[(pl.col(name) ** 2).mean().alias(name + "_squared") for name in ("cpu", "memory")],
            *[pl.col(name).max().alias(name + "_peak") for name in ("cpu", "memory")],
        )
        .collect(engine="streaming")
    )
    grid = slots.select(pl.datetime_range(pl.col("slot").min(), pl.col("slot").max(), "5m", time_unit="ms").alias("slot"))
    full = slots.select("node").unique().sort("node").join(grid, how="cross").join(slots, on=["node", "slot"], how="left", maintain_order="left")
    full = full.with_columns(*[pl.col(name).mean().over("slot").alias(f"cluster_{name}_utilization") for name in ("cpu", "memory")])
    first = []
    for name in ("cpu", "memory"):
        series = pl.col(name)
        first.append(series.alias(f"{name}_utilization"))
        for window, size in WINDOWS.items():
            first.append(series.rolling_mean(size, min_samples=least(size)).over("node").alias(f"{name}_mean_{window}"))
        for window in LONG:
            size = WINDOWS[window]
            first.append(pl.col(name + "_squared").rolling_mean(size, min_samples=least(size)).over("node").alias(f"{name}_second_{window}"))
            first.append(pl.col(name + "_peak").rolling_max(size, min_samples=least(size)).over("node").alias(f"{name}_max_{window}"))
            quantile = series.rolling_quantile(0.95, interpolation="linear", window_size=size, min_samples=least(size))
            first.append(quantile.over("node").alias(f"{name}_p95_{window}"))
            first.append(series.rolling_min(size, min_samples=least(size)).over("node").alias(f"{name}_min_{window}"))
        for lag, size in LAGS.items():
            first.append(series.shift(size).over("node").alias(f"{name}_lag_{lag}"))
        for half_life, size in (("15m", 3), ("1h", 12), ("3h", 36)):
            first.append(series.ewm_mean(half_life=size, ignore_nulls=False).over("node").alias(f"{name}_ewma_{half_life}"))
        step = series.diff().abs()
        for window, size in (("1h", 12), ("24h", 288)):
            first.append(step.rolling_mean(size, min_samples=least(size)).over("node").alias(f"{name}_restlessness_{window}"))
            cluster = pl.col(f"cluster_{name}_utilization").rolling_mean(size, min_samples=least(size)).over("node")
            first.append(cluster.alias(f"cluster_{name}_mean_{window}"))
        first.append((series - pl.col(f"cluster_{name}_utilization")).alias(f"{name}_over_cluster"))
    for name in DEVICES:
        first.append(pl.col(name).rolling_mean(12, min_samples=3).over("node").alias(f"{name}_mean_1h"))
        first.append(pl.col(name).rolling_mean(288, min_samples=72).over("node").alias(f"{name}_mean_24h"))
        first.append(pl.col(name).rolling_max(288, min_samples=72).over("node").alias(f"{name}_max_24h"))
    table = full.lazy().with_columns(first)
    second = []
    for name in ("cpu", "memory"):
        hour = pl.col(f"{name}_mean_1h")
        for window in LONG:
            variance = pl.col(f"{name}_second_{window}") - pl.col(f"{name}_mean_{window}") ** 2
            second.append(variance.clip(0).sqrt().alias(f"{name}_std_{window}"))
        second.append(hour.shift(288).over("node").alias(f"{name}_hour_yesterday"))
        for ahead in (1, 2, 4):
            days = [hour.shift(day * 288 - ahead * 12).over("node") for day in range(1, 8)]
            second.append(days[0].alias(f"{name}_next_{ahead}h_yesterday"))
            second.append(days[6].alias(f"{name}_next_{ahead}h_last_week"))
            count = pl.sum_horizontal([day.is_not_null() for day in days])
            second.append(pl.when(count >= 2).then(pl.mean_horizontal(days)).alias(f"{name}_next_{ahead}h_daily_mean"))
        second.append((hour - hour.shift(12).over("node")).alias(f"{name}_change_1h"))
    minute = pl.col("slot").dt.hour().cast(pl.Int32) * 60 + pl.col("slot").dt.minute()
    second += [
        minute.alias("minute_of_day"),
        pl.col("slot").dt.hour().alias("hour"),
        (pl.col("slot").dt.weekday() - 1).alias("day_of_week"),
        (minute * (2 * 3.141592653589793 / 1440)).sin().alias("day_sin"),
        (minute * (2 * 3.141592653589793 / 1440)).cos().alias("day_cos"),
    ]
    third = [
        ((pl.col(name) - pl.col(f"{name}_mean_24h")) / pl.col(f"{name}_std_24h").clip(0.005)).alias(f"{name}_zscore_24h") for name in ("cpu", "memory")
    ]
    helpers = [column for name in ("cpu", "memory") for column in (name, name + "_squared", name + "_peak", *[f"{name}_second_{window}" for window in LONG])]
    result = table.with_columns(second).with_columns(third).drop(helpers).with_columns(pl.all().exclude("node", "slot").cast(pl.Float32)).collect()
    out.mkdir(parents=True, exist_ok=True)
    for (day,), rows in result.group_by(pl.col("slot").dt.date()):
        rows.write_parquet(out / f"{day}.parquet", compression="zstd", compression_level=3)
    print(result.width - 2)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
