"""The sanitizer: what a program that runs probably does not mean, found while it runs."""

from linnet.checks.gradients import gradients
from linnet.checks.report import Found, Report
from linnet.checks.watcher import Watcher, sanitize

__all__ = ['Found', 'Report', 'Watcher', 'gradients', 'sanitize']
