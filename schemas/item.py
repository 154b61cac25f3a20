"""item: one thing to embed, a query or a candidate. The id is unique per dataset and role."""

from vlm2vec_cli.schemas import content
from vlm2vec_cli.schemas.base import Field, Kind
from vlm2vec_cli.schemas.content import Content


class Item(Content, total=False):
    """A row of the kind item."""

    id: str
    dataset: str
    role: str
    relevant: dict[str, float]
    pool: list[str]
    modality: str
    task_type: str
    group: str
    main_metric: str


FIELDS = (
    Field("id", "id", "Unique per dataset and role; the line number where it is absent."),
    Field("dataset", "id", "The dataset or task the item belongs to.", default="default"),
    Field("role", "role", "The side of the task: query or candidate.", default="query"),
    *content.FIELDS,
    Field("relevant", "gains", "For a query: candidate id to gain, above 0."),
    Field("pool", "ids", "For a query that ranks a given list: candidate ids, order and duplicates kept."),
    Field("modality", "string", "For a query: image, video or visdoc."),
    Field("task_type", "string", "For a query: the task's type, such as retrieval or classification."),
    Field("group", "string", "For a query: the group its dataset is averaged in."),
    Field("main_metric", "string", "For a query: the metric its dataset is reported with."),
)

ITEM = Kind("item", "One thing to embed: a query or a candidate.", FIELDS, check=content.check_content)
