"""Generate a data set of picture and hole crops from pictures and videos: same seed and sources, same files.

Nothing depends on the order of work: random numbers come from (seed, content of the picture, pass), those of scenes
also from their number and the picture's name; file numbers come from the picture's place in the sorted list, in which a
video stands for the frames chosen from it. A run can therefore be interrupted anywhere, resumed, split into shards and
spread over any number of workers and processes.
"""

from inpaintkit.data.generate.preview import example_pictures
from inpaintkit.data.generate.report import GenerateReport
from inpaintkit.data.generate.run import generate_dataset

__all__ = ["GenerateReport", "example_pictures", "generate_dataset"]
