"""ES|QL without an Elasticsearch: whether a query of the package can be right."""

from aquila_mde.esql.query import EsqlQuery, read_query
from aquila_mde.esql.text import EsqlError

__all__ = ["EsqlError", "EsqlQuery", "read_query"]
