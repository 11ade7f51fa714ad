"""The table of `algo connectors`, for `commands`. Imports nothing but what it is written with."""
from .command import Argument, Command

_JSON = Argument("--json", action="store_true", help="as JSON")
_ID = Argument("connector", metavar="PROTOCOL+LABEL", help="the connector, such as s3+lab")

CONNECTORS = Command(
    "connectors",
    "connect S3, Google Cloud Storage, Azure blobs or Dropbox to your account",
    description="A connector gives you and the algorithms that you call a part of your storage, as "
    "s3+LABEL://BUCKET/KEY and the like. The platform stores credentials encrypted and never shows them.",
    actions=(
        Command("ls", "list your connectors", handler="connectors:ls", arguments=(_JSON,)),
        Command(
            "add",
            "make a connector",
            handler="connectors:add",
            description="The credentials are typed without showing them, or are a JSON object on standard input (for "
            "gs as Google's key file has them), or come from the environment. They are never arguments: other people "
            "on this machine can read those.",
            arguments=(
                Argument("protocol", metavar="PROTOCOL", help="s3, gs, azureblob or dropbox"),
                Argument("label", metavar="LABEL", help="its name: letters, digits and underscores"),
                Argument("--path", metavar="GLOB", help="what may be reached, such as 'bucket/folder/*' (all)"),
                Argument("--writeable", action="store_true", help="files may be changed and removed, too"),
                Argument("--default", action="store_true", help="PROTOCOL:// without a label means this one"),
                Argument("--endpoint", metavar="URL", help="address of a server of your own"),
                Argument("--from-env", action="store_true", help="credentials from AWS_ACCESS_KEY_ID and others"),
            ),
        ),
        Command("test", "ask the provider whether a connector works", handler="connectors:test", arguments=(_ID,)),
        Command("rm", "remove a connector; its files stay", handler="connectors:rm", arguments=(_ID,)),
    ),
    examples=(
        "algo connectors add s3 lab --path 'bucket/folder/*' --writeable",
        "algo connectors add gs maps < key.json",
        "algo connectors test s3+lab",
    ),
)  # fmt: skip
