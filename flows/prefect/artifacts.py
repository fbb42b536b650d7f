"""Publishes a release in Prefect's UI: the report with verdict and matrix, and its distances as a picture.

In: a manifest. Out: two Markdown artifacts of the run, `release-MODEL` and `release-MODEL-distances`.
"""

from validators.release.manifest import Manifest
from validators.report import markdown
from validators.report.html import distance_chart


def publish(manifest: Manifest, *, key: str, description: str) -> None:
    """Creates the artifacts; both have a history, so that the UI shows the model's releases one after the other.

    Args:
        manifest: the release.
        key: of the report; the picture's begins with it.
        description: path of the release, and its digest.
    """
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(markdown.render(manifest), key=key, description=description)
    picture = f"![The distances of every cell; the report has them as a table]({distance_chart.address(manifest)})\n"
    create_markdown_artifact(picture, key=f"{key}-distances", description=description)
