"""The node features that pandas has words for, from raw Parquet days to feature Parquet days: the peer of `features build`.

    features_pandas.py RAW_NODE_METRICS_FOLDER OUT_FOLDER

Slots of five minutes, the grid completed before any window, windows need a quarter of their slots. All of the catalogue
but incidents and holidays (5 features), which read other tables; exponentially weighted means are pandas' own, which
never forget. Prints the number of features.
"""

import pathlib
import sys

import numpy as np
import pandas as pd

WINDOWS = {"15m": 3, "30m": 6, "1h": 12, "2h": 24, "6h": 72, "24h": 288, "7d": 2016}
LONG = ("1h", "6h", "24h", "7d")
LAGS = {"5m": 1, "10m": 2, "15m": 3, "30m": 6, "45m": 9, "1h": 12, "2h": 24, "24h": 288}
DEVICES = {
    "network": ["network_receive_bytes_per_second", "network_transmit_bytes_per_second"],
    "disk": ["disk_read_bytes_per_second", "disk_write_bytes_per_second"],
    "disk_io_time": ["disk_io_time_ratio"],
    "load_per_core": ["load1"],
    "cpu_pressure": ["cpu_pressure_ratio"],
    "memory_pressure": ["memory_pressure_ratio"],
}
PLAIN = {
    "filesystem_used": "filesystem_used_ratio",
    "pods_running": "pods_running",
    "cpu_requested": "cpu_requested_cores",
    "memory_requested": "memory_requested_bytes",
    "ready": "ready",
    "uptime_hours": "uptime_seconds",
    "cores": "cpu_allocatable_cores",
    "bytes": "memory_allocatable_bytes",
}
SHARES = {"load_per_core": "cores", "cpu_requested": "cores", "memory_requested": "bytes"}
UTILIZATION = ["cpu_used_cores", "cpu_allocatable_cores", "memory_used_bytes", "memory_allocatable_bytes"]


def slots(day):
    """Means, second moments and maxima of one day's slots."""
    columns = ["ts", "node", *UTILIZATION, *sum(DEVICES.values(), []), *list(PLAIN.values())[:6]]
    raw = pd.concat(pd.read_parquet(part, columns=columns) for part in sorted(day.glob("*.parquet")))
    raw["slot"] = raw["ts"].dt.floor("5min") + pd.Timedelta("5min")
    for name, used, whole in (("cpu", *UTILIZATION[:2]), ("memory", *UTILIZATION[2:])):
        raw[name] = raw[used] / raw[whole]
        raw[name + "_squared"] = raw[name] ** 2
    for name, parts in DEVICES.items():
        raw[name] = raw[parts].sum(axis=1, min_count=1)
    for name, column in PLAIN.items():
        raw[name] = raw[column]
    for name, whole in SHARES.items():
        raw[name] = raw[name] / raw[whole]
    groups = raw.groupby(["slot", "node"], observed=True)
    means = groups[["cpu", "memory", "cpu_squared", "memory_squared", *DEVICES, *PLAIN]].mean()
    maxima = groups[["cpu", "memory"]].max().add_suffix("_max")
    return means.join(maxima).join(groups.size().rename("samples"))


def main(raw, out):
    table = pd.concat(slots(day) for day in sorted(raw.glob("date=*")))
    table = table[~table.index.duplicated()]
    grid = pd.date_range(table.index.get_level_values(0).min(), table.index.get_level_values(0).max(), freq="5min", name="slot")
    wide = {name: table[name].unstack("node").reindex(grid) for name in table.columns}
    features = {}
    time = np.arange(len(grid), dtype=float)[:, None]

    def rolling(frame, window):
        return frame.rolling(window, min_periods=max(1, -(-window // 4)))

    for name in ("cpu", "memory"):
        series, squared = wide[name], wide[name + "_squared"]
        features[f"{name}_utilization"] = series
        for window, size in WINDOWS.items():
            features[f"{name}_mean_{window}"] = rolling(series, size).mean()
        for window in LONG:
            size = WINDOWS[window]
            mean = features[f"{name}_mean_{window}"]
            features[f"{name}_std_{window}"] = np.sqrt((rolling(squared, size).mean() - mean**2).clip(lower=0))
            features[f"{name}_max_{window}"] = rolling(wide[name + "_max"], size).max()
            features[f"{name}_p95_{window}"] = rolling(series, size).quantile(0.95)
            features[f"{name}_min_{window}"] = rolling(series, size).min()
        for lag, size in LAGS.items():
            features[f"{name}_lag_{lag}"] = series.shift(size)
        hour = features[f"{name}_mean_1h"]
        features[f"{name}_hour_yesterday"] = hour.shift(288)
        for ahead in (1, 2, 4):
            days = [hour.shift(day * 288 - ahead * 12) for day in range(1, 8)]
            features[f"{name}_next_{ahead}h_yesterday"] = days[0]
            features[f"{name}_next_{ahead}h_last_week"] = days[6]
            stack = np.stack([day.to_numpy() for day in days])
            count = np.isfinite(stack).sum(axis=0)
            mean = np.where(count >= 2, np.nansum(stack, axis=0) / np.maximum(count, 1), np.nan)
            features[f"{name}_next_{ahead}h_daily_mean"] = pd.DataFrame(mean, index=grid, columns=hour.columns)
        for half_life, size in (("15m", 3), ("1h", 12), ("3h", 36)):
            features[f"{name}_ewma_{half_life}"] = series.ewm(halflife=size, ignore_na=False).mean()
        features[f"{name}_change_1h"] = hour - hour.shift(12)
        features[f"{name}_change_1h_before"] = hour.shift(12) - hour.shift(24)
        times = series.notna().where(series.notna()) * time
        for window in ("1h", "6h", "24h"):
            size = WINDOWS[window]
            mean_time = rolling(times, size).mean()
            covariance = rolling(times * series, size).mean() - mean_time * features[f"{name}_mean_{window}"]
            features[f"{name}_slope_{window}"] = 12 * covariance / (rolling(times * times, size).mean() - mean_time**2)
        spikes = ((series - hour.shift(1)) > 0.2).astype(float).rolling(288, min_periods=1).sum()
        features[f"{name}_spikes_24h"] = spikes.where(features[f"{name}_mean_24h"].notna())
        step = series.diff()
        features[f"{name}_rising_6h"] = rolling((step > 0).astype(float).where(step.notna()), 72).mean()
        step = step.abs()
        features[f"{name}_restlessness_1h"] = rolling(step, 12).mean()
        features[f"{name}_restlessness_24h"] = rolling(step, 288).mean()
        features[f"{name}_zscore_24h"] = (series - features[f"{name}_mean_24h"]) / features[f"{name}_std_24h"].clip(lower=0.005)
        cluster = series.mean(axis=1)
        like = pd.DataFrame(np.ones(series.shape), index=grid, columns=series.columns)
        features[f"cluster_{name}_utilization"] = like.mul(cluster, axis=0)
        cluster_hour = rolling(cluster, 12).mean()
        features[f"cluster_{name}_mean_1h"] = like.mul(cluster_hour, axis=0)
        features[f"cluster_{name}_change_1h"] = like.mul(cluster_hour - cluster_hour.shift(12), axis=0)
        features[f"cluster_{name}_change_24h"] = like.mul(cluster - cluster.shift(288), axis=0)
        features[f"cluster_{name}_hot_share"] = like.mul((series >= 0.8).sum(axis=1) / series.count(axis=1), axis=0)
        features[f"cluster_{name}_mean_24h"] = like.mul(rolling(cluster, 288).mean(), axis=0)
        features[f"{name}_over_cluster"] = series.sub(cluster, axis=0)
    for name in DEVICES:
        features[name] = wide[name]
        features[f"{name}_mean_1h"] = rolling(wide[name], 12).mean()
        features[f"{name}_mean_24h"] = rolling(wide[name], 288).mean()
        features[f"{name}_max_24h"] = rolling(wide[name], 288).max()
    for name in ("filesystem_used", "pods_running", "cpu_requested", "memory_requested"):
        features[name] = wide[name]
    features["filesystem_change_24h"] = wide["filesystem_used"] - wide["filesystem_used"].shift(288)
    for name, change in (("pods_running", "pods"), ("cpu_requested", "cpu_requested"), ("memory_requested", "memory_requested")):
        features[f"{change}_change_1h"] = wide[name] - wide[name].shift(12)
    features["uptime_hours"] = wide["uptime_hours"] / 3600
    features["ready_share_24h"] = rolling(wide["ready"], 288).mean()
    seen = wide["samples"].notna()
    features["missing_share_24h"] = 1 - seen.astype(float).rolling(288, min_periods=1).sum() / 288
    features["cluster_nodes"] = pd.DataFrame(1.0, index=grid, columns=seen.columns).mul(seen.sum(axis=1), axis=0)
    features["cpu_free"] = wide["cores"] * (1 - wide["cpu"])
    features["memory_free"] = wide["bytes"] * (1 - wide["memory"])
    features["memory_per_core"] = wide["bytes"] / wide["cores"]
    features["cpu_memory_balance"] = features["cpu_mean_24h"] / features["memory_mean_24h"]
    rooms = {name: (1 - features[f"{mean}_mean_24h"]).clip(lower=0) for name, mean in (("cpu", "cpu"), ("memory", "memory"), ("io", "disk_io_time"))}
    total = sum(room.fillna(0) for room in rooms.values())
    for name, room in rooms.items():
        features[f"suits_{name}"] = room / total
    columns = {name: frame.astype("float32").stack(future_stack=True) for name, frame in features.items()}
    result = pd.DataFrame(columns)
    stamps = result.index.get_level_values(0)
    minute = stamps.hour * 60 + stamps.minute
    result["minute_of_day"] = minute.astype("float32")
    result["hour"] = stamps.hour.astype("float32")
    result["day_of_week"] = stamps.day_of_week.astype("float32")
    result["day_sin"] = np.sin(2 * np.pi * minute / 1440).astype("float32")
    result["day_cos"] = np.cos(2 * np.pi * minute / 1440).astype("float32")
    week = minute + 1440 * stamps.day_of_week
    result["week_sin"] = np.sin(2 * np.pi * week / 10080).astype("float32")
    result["week_cos"] = np.cos(2 * np.pi * week / 10080).astype("float32")
    result["weekend"] = (stamps.day_of_week >= 5).astype("float32")
    out.mkdir(parents=True, exist_ok=True)
    for day, rows in result.groupby(stamps.date):
        rows.reset_index().to_parquet(out / f"{day}.parquet", compression="zstd", index=False)
    print(len(result.columns))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
