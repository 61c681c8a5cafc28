"""``px completion``: the script that lets a shell complete px's commands and options."""

from __future__ import annotations

import click

from pypx.cli import console
from pypx.cli.options import PxCommand, common, epilog

_EPILOG = epilog(
    """
    echo 'source <(px completion bash)' >> ~/.bashrc
    echo 'source <(px completion zsh)' >> ~/.zshrc
    px completion fish > ~/.config/fish/completions/px.fish
    """,
    0,
    2,
)


@click.command("completion", cls=PxCommand, epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def command(shell: str, **_values: object) -> None:
    """Print the completion script for your shell; the shell's start-up file reads it."""
    from click.shell_completion import get_completion_class

    from pypx.cli.main import px

    script = get_completion_class(shell)
    if script is not None:
        console.write(script(px, {}, "px", "_PX_COMPLETE").source() + "\n")
