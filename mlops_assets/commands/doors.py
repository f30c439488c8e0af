"""Open doors: Delta tables for other readers, and the way from DVC and back.

What belongs here: arguments, what is printed, exit codes. What does not: any decision (``store.publishing``).
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mlops_assets.commands.common import Commands, contracts, open_store, say_json, size
from mlops_assets.home import Home
from mlops_assets.wording import counted


def add(commands: Commands) -> None:
    """Register the subcommands."""
    publish = commands.add_parser("publish", help="make a tag a version of Delta tables over the same files")
    publish.add_argument("tag")
    publish.add_argument("--asset", action="append", metavar="A", help="only this asset; may be repeated")
    publish.add_argument("--dry-run", action="store_true", help="say what would be done")
    publish.add_argument("--json", action="store_true", help="answer for programs")
    publish.set_defaults(command=_publish)

    dvc = commands.add_parser("dvc", help="move over from DVC, or back")
    ways = dvc.add_subparsers(required=True, metavar="WAY")
    export = ways.add_parser("export", help="write a state as a directory that DVC tracks")
    export.add_argument("ref", help="a tag, branch, version or moment")
    export.add_argument("target", type=Path, help="the folder, in a git repository with DVC, that gets NAME.dvc")
    export.add_argument("--name", default="data", help="what DVC calls the directory (data)")
    export.add_argument("--remote", type=Path, required=True, help="the folder of a DVC remote that gets the objects")
    export.add_argument("--asset", action="append", metavar="A", help="only this asset; may be repeated")
    export.set_defaults(command=_export_dvc)
    bring = ways.add_parser("import", help="bring the files of a .dvc pointer into a dataset's landing folder")
    bring.add_argument("pointer", type=Path, help="the .dvc file")
    bring.add_argument("dataset")
    bring.add_argument(
        "--cache", type=Path, action="append", required=True, help="DVC's cache or a remote's folder; may be repeated"
    )
    bring.set_defaults(command=_import_dvc)


def _publish(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.publishing import publish, table_folder
    from mlops_assets.store.refs import view
    from mlops_assets.store.tags import read_tag

    store = open_store(home)
    tag = read_tag(store, options.tag)
    done = publish(store, view(store, f"tag:{options.tag}"), options.asset, when=tag.when, dry=options.dry_run)
    if options.json:
        say_json({asset: {**asdict(found), "path": str(table_folder(store, asset))} for asset, found in done.items()})
        return 0
    for asset, found in done.items():
        wider = f", new columns {', '.join(found.new_columns)}" if found.new_columns else ""
        print(
            f"{asset}: {found.added} added, {found.removed} removed, {found.kept} kept{wider}: "
            f"version {found.version} of {table_folder(store, asset)}"
        )
    if options.dry_run:
        print("Nothing was written.")
    return 0


def _export_dvc(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.publishing import export_dvc
    from mlops_assets.store.refs import view

    store = open_store(home)
    shown = view(store, options.ref, home.branch)
    done = export_dvc(store, shown, options.target, options.name, remote=options.remote, assets=options.asset)
    print(
        f"{done.pointer}: {counted(done.files, 'file')} of {shown.name}, {size(done.size)}; "
        f"{counted(done.written, 'object')} written, {done.replaced} replaced, {done.kept} there already."
    )
    print(f"Commit {done.pointer.name} and .gitignore, then: dvc pull {done.pointer.name}")
    return 0


def _import_dvc(options: argparse.Namespace, home: Home) -> int:
    from mlops_assets.store.publishing import import_dvc

    (contract,) = contracts(home, options.dataset)
    landing = contract.folder / "landing"
    done = import_dvc(options.pointer, options.cache, landing)
    print(f"{counted(len(done), 'file')} brought into {landing}. Next: mlops-assets run {contract.name}")
    return 0
