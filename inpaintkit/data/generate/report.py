"""Report what a generation run has made."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from inpaintkit.config import GenerateConfig
from inpaintkit.data import manifest
from inpaintkit.data.bars import Bars
from inpaintkit.data.generate.plan import Listing
from inpaintkit.data.manifest import Row
from inpaintkit.data.sources import describe_videos


@dataclass(frozen=True)
class GenerateReport:
    """What a generation run has made, including earlier interrupted runs of it.

    `scenes`: number of records that show scenes; `videos`: (file, what was taken from it and what left out);
    `bars`: (photo, black bars left out of its records); `division`: how files were divided into train and eval;
    `skipped`: (source, reason) of skipped pictures; `dropped`: number of crops whose hole was too small;
    `files`: the records' pictures, train before eval; `beside`: names of other data sets in the same folder, iw3's
    included, which a training reads as well; `seconds`, and `pictures`, the number of passes and scenes worked on: of
    this run alone.
    """

    name: str
    train: int
    eval: int
    scenes: int
    dropped: int
    skipped: tuple[tuple[str, str], ...]
    videos: tuple[tuple[str, str], ...]
    bars: tuple[tuple[str, str], ...]
    division: str
    mean_hole_fraction: float
    pictures: int
    seconds: float
    files: tuple[Path, ...]
    beside: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        return self.train + self.eval

    @property
    def pairs(self) -> list[tuple[Path, Path]]:
        """The records' files: (picture, hole)."""
        suffixes = manifest.PICTURE_SUFFIX, manifest.HOLE_SUFFIX
        return [(path, path.with_name(path.name.removesuffix(suffixes[0]) + suffixes[1])) for path in self.files]

    def summary(self) -> dict[str, int | float | str]:
        """Return the report as one row of a table, by column."""
        row = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("files", "beside")}
        counted = {"skipped": len(self.skipped), "videos": len(self.videos), "bars": len(self.bars)}
        beside = {"beside": ", ".join(self.beside)} if self.beside else {}
        return {"name": self.name, "records": self.records, **row, **counted, **beside}


def make_report(config: GenerateConfig, listing: Listing, rows: Iterable[Row], pictures: int) -> GenerateReport:
    """Return the report of a run that worked on `pictures` passes, from the manifest `rows` of all its jobs."""
    counts = dict.fromkeys(manifest.SPLITS, 0)
    scenes = 0
    dropped = 0
    area = 0
    skipped = {}
    bars = {}
    files = []
    videos = dict(describe_videos(manifest.manifest_folder(config.output_dir, config.data_set_name)))
    own_bars: dict[str, set[str]] = {}
    for row in rows:
        if "bars" in row:
            said = str(Bars(*row["bars"]))
            video = row["source"].rpartition("#t=")[0]
            if video not in videos:
                bars[row["source"]] = said
            elif said not in videos[video]:
                own_bars.setdefault(video, set()).add(row["source"])
        split = row["source"].partition("/")[0]
        if manifest.is_record(row):
            counts[split] += 1
            scenes += "scene" in row
            area += row["hole_pixels"]
            files.append(Path(config.output_dir) / split / row["picture"])
        elif "dropped" in row:
            dropped += manifest.DELETED_ROW not in row
        else:
            skipped[row["source"]] = row["skipped"]
    for video, frames in own_bars.items():
        videos[video] += f"; black bars of their own left out of {len(frames)} frames"
    names = {*manifest.data_set_names(config.output_dir), *manifest.iw3_set_names(config.output_dir)}
    fraction = area / (len(files) * config.size**2) if files else 0.0
    return GenerateReport(
        config.data_set_name, **counts, scenes=scenes, dropped=dropped, skipped=tuple(skipped.items()),
        videos=tuple(videos.items()), bars=tuple(bars.items()), division=listing.division,
        mean_hole_fraction=fraction, pictures=pictures, seconds=0.0, files=tuple(files),
        beside=tuple(sorted(names - {config.data_set_name})),
    )  # fmt: skip
