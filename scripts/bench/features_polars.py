"""The node features that Polars has words for, from raw Parquet days to feature Parquet days: the peer of `features build`.

    features_polars.py RAW_NODE_METRICS_FOLDER OUT_FOLDER

The same columns as features_pandas.py: slots of five minutes, the grid completed before any window, windows need a
quarter of their slots. Prints the number of features.
"""

import pathlib
import sys

import polars as pl
from features_pandas import DEVICES, LAGS, LONG, PLAIN, SHARES, UTILIZATION, WINDOWS


TRENDS = ("1h", "6h", "24h")


def least(size):
    return max(1, -(-size // 4))


def main(raw, out):
    used = [pl.col("cpu_used_cores") / pl.col("cpu_allocatable_cores"), pl.col("memory_used_bytes") / pl.col("memory_allocatable_bytes")]
    # One rate alone where the other is missing; a plain horizontal sum would make 0 of two missing ones.
    devices = [pl.coalesce(sum(map(pl.col, parts[1:]), pl.col(parts[0])), *parts).alias(name) for name, parts in DEVICES.items()]
    samples = (
        pl.scan_parquet(str(raw / "date=*" / "*.parquet"), hive_partitioning=False)
        .select("ts", "node", *UTILIZATION, *sum(DEVICES.values(), []), *list(PLAIN.values())[:6])
        .with_columns((pl.col("ts").dt.truncate("5m") + pl.duration(minutes=5)).alias("slot"), used[0].alias("cpu"), used[1].alias("memory"))
        .with_columns(*devices, *[pl.col(column).alias(name) for name, column in PLAIN.items()])
        .with_columns((pl.col(name) / pl.col(whole)).alias(name) for name, whole in SHARES.items())
    )
    slots = (
        samples.group_by("node", "slot")
        .agg(
            *[pl.col(name).mean() for name in ("cpu", "memory", *DEVICES, *PLAIN)],
            *[(pl.col(name) ** 2).mean().alias(name + "_squared") for name in ("cpu", "memory")],
            *[pl.col(name).max().alias(name + "_peak") for name in ("cpu", "memory")],
            pl.len().alias("samples"),
        )
        .collect(engine="streaming")
    )
    grid = slots.select(pl.datetime_range(pl.col("slot").min(), pl.col("slot").max(), "5m", time_unit="ms").alias("slot"))
    full = slots.select("node").unique().sort("node").join(grid, how="cross").join(slots, on=["node", "slot"], how="left", maintain_order="left")
    full = full.with_columns(
        *[pl.col(name).mean().over("slot").alias(f"cluster_{name}_utilization") for name in ("cpu", "memory")],
        *[(pl.col(name) >= 0.8).mean().over("slot").alias(f"cluster_{name}_hot_share") for name in ("cpu", "memory")],
        pl.col("samples").is_not_null().sum().over("slot").alias("cluster_nodes"),
        pl.int_range(pl.len()).over("node").cast(pl.Float64).alias("time"),
    )
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
        times = pl.when(series.is_not_null()).then(pl.col("time"))
        for window in TRENDS:
            for product, what in ((times, "time"), (times * series, "product"), (times * times, "time_squared")):
                mean = product.rolling_mean(WINDOWS[window], min_samples=least(WINDOWS[window])).over("node")
                first.append(mean.alias(f"{name}_{what}_{window}"))
        rises = (series.diff() > 0).cast(pl.Float64).rolling_mean(72, min_samples=18)
        first.append(rises.over("node").alias(f"{name}_rising_6h"))
        step = series.diff().abs()
        for window, size in (("1h", 12), ("24h", 288)):
            first.append(step.rolling_mean(size, min_samples=least(size)).over("node").alias(f"{name}_restlessness_{window}"))
            cluster = pl.col(f"cluster_{name}_utilization").rolling_mean(size, min_samples=least(size)).over("node")
            first.append(cluster.alias(f"cluster_{name}_mean_{window}"))
        first.append((series - pl.col(f"cluster_{name}_utilization")).alias(f"{name}_over_cluster"))
        level = pl.col(f"cluster_{name}_utilization")
        first.append((level - level.shift(288).over("node")).alias(f"cluster_{name}_change_24h"))
    for name in DEVICES:
        first.append(pl.col(name).rolling_mean(12, min_samples=3).over("node").alias(f"{name}_mean_1h"))
        first.append(pl.col(name).rolling_mean(288, min_samples=72).over("node").alias(f"{name}_mean_24h"))
        first.append(pl.col(name).rolling_max(288, min_samples=72).over("node").alias(f"{name}_max_24h"))
    for name, change, size in (
        ("filesystem_used", "filesystem_change_24h", 288),
        ("pods_running", "pods_change_1h", 12),
        ("cpu_requested", "cpu_requested_change_1h", 12),
        ("memory_requested", "memory_requested_change_1h", 12),
    ):
        first.append((pl.col(name) - pl.col(name).shift(size).over("node")).alias(change))
    seen = pl.col("samples").is_not_null().cast(pl.Float64).rolling_sum(288, min_samples=1).over("node")
    first += [
        (pl.col("uptime_hours") / 3600).alias("uptime_hours"),
        pl.col("ready").rolling_mean(288, min_samples=72).over("node").alias("ready_share_24h"),
        (1 - seen / 288).alias("missing_share_24h"),
        (pl.col("cores") * (1 - pl.col("cpu"))).alias("cpu_free"),
        (pl.col("bytes") * (1 - pl.col("memory"))).alias("memory_free"),
        (pl.col("bytes") / pl.col("cores")).alias("memory_per_core"),
    ]
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
        second.append((hour.shift(12) - hour.shift(24)).over("node").alias(f"{name}_change_1h_before"))
        cluster = pl.col(f"cluster_{name}_mean_1h")
        second.append((cluster - cluster.shift(12).over("node")).alias(f"cluster_{name}_change_1h"))
        for window in TRENDS:
            time, mean = pl.col(f"{name}_time_{window}"), pl.col(f"{name}_mean_{window}")
            covariance = pl.col(f"{name}_product_{window}") - time * mean
            second.append((12 * covariance / (pl.col(f"{name}_time_squared_{window}") - time**2)).alias(f"{name}_slope_{window}"))
        spike = (pl.col(name) - hour.shift(1) > 0.2).fill_null(False).cast(pl.Float64).rolling_sum(288, min_samples=1).over("node")
        second.append(pl.when(pl.col(f"{name}_mean_24h").is_not_null()).then(spike).alias(f"{name}_spikes_24h"))
    rooms = {name: (1 - pl.col(f"{mean}_mean_24h")).clip(0) for name, mean in (("cpu", "cpu"), ("memory", "memory"), ("io", "disk_io_time"))}
    second += [(room / pl.sum_horizontal(*rooms.values())).alias(f"suits_{name}") for name, room in rooms.items()]
    second.append((pl.col("cpu_mean_24h") / pl.col("memory_mean_24h")).alias("cpu_memory_balance"))
    minute = pl.col("slot").dt.hour().cast(pl.Int32) * 60 + pl.col("slot").dt.minute()
    week = minute + (pl.col("slot").dt.weekday().cast(pl.Int32) - 1) * 1440
    second += [
        minute.alias("minute_of_day"),
        pl.col("slot").dt.hour().alias("hour"),
        (pl.col("slot").dt.weekday() - 1).alias("day_of_week"),
        (minute * (2 * 3.141592653589793 / 1440)).sin().alias("day_sin"),
        (minute * (2 * 3.141592653589793 / 1440)).cos().alias("day_cos"),
        (week * (2 * 3.141592653589793 / 10080)).sin().alias("week_sin"),
        (week * (2 * 3.141592653589793 / 10080)).cos().alias("week_cos"),
        (pl.col("slot").dt.weekday() > 5).alias("weekend"),
    ]
    third = [
        ((pl.col(name) - pl.col(f"{name}_mean_24h")) / pl.col(f"{name}_std_24h").clip(0.005)).alias(f"{name}_zscore_24h") for name in ("cpu", "memory")
    ]
    helpers = ["samples", "time", "ready", "cores", "bytes"]
    for name in ("cpu", "memory"):
        helpers += [name, name + "_squared", name + "_peak", *[f"{name}_second_{window}" for window in LONG]]
        helpers += [f"{name}_{what}_{window}" for what in ("time", "product", "time_squared") for window in TRENDS]
    result = table.with_columns(second).with_columns(third).drop(helpers).with_columns(pl.all().exclude("node", "slot").cast(pl.Float32)).collect()
    out.mkdir(parents=True, exist_ok=True)
    for (day,), rows in result.group_by(pl.col("slot").dt.date()):
        rows.write_parquet(out / f"{day}.parquet", compression="zstd", compression_level=3)
    print(result.width - 2)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
