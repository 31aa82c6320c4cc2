"""The one style sheet, generated from the tokens of the scheme and the text size that are on.

Widgets carry properties (`kind`, `tone`, `card`) rather than names of colours; fonts are set by the widgets
themselves, because a sheet cannot name a weight on a variable font's axis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wallet.gui import tokens as t

if TYPE_CHECKING:
    from wallet.gui.theme import Theme

__all__ = ["sheet"]

_SHEET = """
QMainWindow, QDialog[sheet="true"] {{ background: {canvas}; }}
QWidget[ground="canvas"] {{ background: {canvas}; }}
QWidget[ground="sidebar"] {{ background: {sidebar}; }}
QWidget[ground="surface"] {{ background: {surface}; }}
QWidget[ground="play"] {{ background: {play}; }}
QScrollArea, QScrollArea > QWidget > QWidget[content="true"] {{ background: transparent; border: none; }}
QFrame[card="true"] {{ background: {surface}; border: 1px solid {line}; border-radius: {radius_card}px; }}
QFrame[card="plain"] {{ background: {surface}; border: none; border-radius: {radius_card}px; }}
QFrame[rule="true"] {{ background: {line}; border: none; max-height: 1px; min-height: 1px; }}
QFrame[banner="warning"] {{ background: {warning_soft}; border: none; border-radius: {radius_card}px; }}
QFrame[banner="danger"] {{ background: {danger_soft}; border: none; border-radius: {radius_card}px; }}
QFrame[banner="info"] {{ background: {soft_accent}; border: none; border-radius: {radius_card}px; }}
QFrame[banner="success"] {{ background: {success_soft}; border: none; border-radius: {radius_card}px; }}
QFrame[toast="true"] {{ background: {text}; border: none; border-radius: {radius_card}px; }}
QFrame[pill="play"] {{ background: {play}; border: none; border-radius: {pill}px; }}
QFrame[pill="neutral"] {{ background: {raised}; border: none; border-radius: {pill}px; }}
QFrame[pill="success"] {{ background: {success_soft}; border: none; border-radius: {pill}px; }}
QFrame[pill="warning"] {{ background: {warning_soft}; border: none; border-radius: {pill}px; }}
QFrame[pill="danger"] {{ background: {danger_soft}; border: none; border-radius: {pill}px; }}
QFrame[pill="accent"] {{ background: {soft_accent}; border: none; border-radius: {pill}px; }}

QLabel {{ background: transparent; color: {text}; }}
QLabel[tone="text2"] {{ color: {text2}; }}
QLabel[tone="text3"] {{ color: {text3}; }}
QLabel[tone="accent"] {{ color: {accent}; }}
QLabel[tone="success"] {{ color: {success}; }}
QLabel[tone="warning"] {{ color: {warning}; }}
QLabel[tone="danger"] {{ color: {danger}; }}
QLabel[tone="on_play"] {{ color: {on_play}; }}
QLabel[tone="canvas"] {{ color: {canvas}; }}
QLabel:disabled {{ color: {text3}; }}

QPushButton {{ border-radius: {radius}px; padding: 0 {s4}px; min-height: {control_inner}px; outline: none; }}
QPushButton[metric="main"] {{ min-height: {main_inner}px; padding: 0 {s6}px; }}
QPushButton[metric="amount"] {{ min-height: {amount_inner}px; }}
QPushButton[metric="small"] {{ min-height: {small_inner}px; padding: 0 {s3}px; }}
QPushButton[kind="filled"] {{ background: {accent}; color: {on_accent}; border: 1px solid {accent}; }}
QPushButton[kind="filled"]:hover {{ background: {accent_hover}; border-color: {accent_hover}; }}
QPushButton[kind="filled"]:pressed {{ background: {accent_hover}; }}
QPushButton[kind="danger"] {{ background: {danger}; color: {on_danger}; border: 1px solid {danger}; }}
QPushButton[kind="outlined"] {{ background: {surface}; color: {text}; border: 1px solid {field}; }}
QPushButton[kind="outlined"]:hover {{ background: {raised}; }}
QPushButton[kind="outlined"]:pressed {{ background: {line}; }}
QPushButton[kind="text"] {{ background: transparent; color: {accent}; border: 1px solid transparent;
    padding: 0 {s2}px; }}
QPushButton[kind="text"]:hover {{ background: {soft_accent}; }}
QPushButton[kind="quiet"] {{ background: transparent; color: {text2}; border: 1px solid transparent;
    padding: 0 {s2}px; }}
QPushButton[kind="quiet"]:hover {{ background: {raised}; color: {text}; }}
QPushButton[kind="danger-text"] {{ background: transparent; color: {danger}; border: 1px solid transparent;
    padding: 0 {s2}px; }}
QPushButton[kind="danger-text"]:hover {{ background: {danger_soft}; }}
QPushButton[kind="on-play"] {{ background: transparent; color: {on_play}; border: none; min-height: {strip}px;
    padding: 0 {s3}px; border-radius: 0; }}
QPushButton[kind="status"] {{ background: transparent; color: {text2}; border: none; border-radius: {s1}px;
    min-height: {status_inner}px; padding: 0 {s2}px; }}
QPushButton[kind="status"]:hover {{ background: {raised}; color: {text}; }}
QPushButton[kind="status"][trouble="true"] {{ color: {warning}; }}
QPushButton[kind="segment"] {{ background: transparent; color: {text2}; border: 1px solid transparent;
    border-radius: {radius}px; padding: 0 {s3}px; min-height: {segment_inner}px; }}
QPushButton[kind="segment"]:hover {{ color: {text}; }}
QPushButton[kind="segment"]:checked {{ background: {surface}; color: {text}; border: 1px solid {field}; }}
QPushButton[kind="segment"]:disabled {{ color: {text3}; }}
QPushButton[kind="fold"] {{ background: transparent; color: {text2}; border: none; padding: 0 {s2}px 0 0;
    text-align: left; }}
QPushButton[kind="fold"]:hover {{ color: {text}; }}
QPushButton[kind="id"] {{ background: transparent; color: {text}; border: none; padding: 0;
    border-radius: {s1}px; min-height: {id_inner}px; }}
QPushButton[kind="id"]:hover {{ background: {raised}; }}
QPushButton[kind="title"] {{ background: transparent; color: {text}; border: none; padding: 0;
    text-align: left; min-height: {id_inner}px; }}
QPushButton[kind="title"]:hover {{ color: {accent}; }}
QFrame[segments="true"] {{ background: {raised}; border: none; border-radius: {radius}px; }}
QPushButton[kind="chip"] {{ background: {soft_accent}; color: {accent}; border: none; border-radius: {pill}px;
    min-height: {pill2}px; padding: 0 {s3}px; }}
QPushButton[kind="filled"]:disabled, QPushButton[kind="danger"]:disabled, QPushButton[kind="outlined"]:disabled
    {{ background: {raised}; color: {text3}; border: 1px solid {line}; }}
QPushButton[kind="text"]:disabled, QPushButton[kind="danger-text"]:disabled {{ color: {text3}; }}
QPushButton::menu-indicator {{ image: none; width: 0; }}
QToolButton {{ background: transparent; border: none; border-radius: {radius}px; padding: {s2}px; }}
QToolButton:hover {{ background: {raised}; }}
QToolButton::menu-indicator {{ image: none; }}

QLineEdit, QPlainTextEdit {{ background: {surface}; color: {text}; border: 1px solid {field};
    border-radius: {radius}px; padding: 0 {s3}px; selection-background-color: {accent};
    selection-color: {on_accent}; }}
QLineEdit {{ min-height: {control_inner}px; }}
QLineEdit[metric="main"] {{ min-height: {main_inner}px; }}
QLineEdit[metric="amount"] {{ min-height: {amount_inner}px; }}
QPlainTextEdit {{ padding: {s2}px {s2}px; }}
QLineEdit:focus, QPlainTextEdit:focus {{ border: 2px solid {accent}; padding-left: {s3less}px; }}
QLineEdit[wrong="true"], QPlainTextEdit[wrong="true"] {{ border: 1px solid {danger}; }}
QLineEdit:disabled, QPlainTextEdit:disabled {{ background: {raised}; color: {text3}; border-color: {line}; }}

QCheckBox {{ spacing: {s2}px; color: {text}; background: transparent; }}

QTableView {{ background: {surface}; border: 1px solid {line}; border-radius: {radius_card}px; outline: none;
    selection-background-color: {soft_accent}; selection-color: {text}; gridline-color: transparent; }}
QTableView::item {{ border: none; border-bottom: 1px solid {line}; padding: 0 {s3}px; }}
QTableView::item:hover {{ background: {raised}; }}
QTableView::item:selected {{ background: {soft_accent}; color: {text}; }}
QTableView QTableCornerButton::section {{ background: {surface}; border: none; }}
QHeaderView {{ background: transparent; border: none; }}
QHeaderView::section {{ background: {surface}; color: {text2}; border: none; border-bottom: 1px solid {line};
    padding: 0 {s3more}px; height: {control}px; }}
QHeaderView::section:first {{ border-top-left-radius: {radius_card}px; }}
QHeaderView::section:last {{ border-top-right-radius: {radius_card}px; }}

QMenu {{ background: {surface}; color: {text}; border: 1px solid {line}; border-radius: {radius}px;
    padding: {s1}px; }}
QMenu::item {{ padding: {s2}px {s6}px {s2}px {s2}px; border-radius: {s1}px; }}
QMenu::item:selected {{ background: {raised}; color: {text}; }}
QMenu::item:disabled {{ color: {text3}; }}
QMenu::separator {{ height: 1px; background: {line}; margin: {s1}px {s2}px; }}
QMenu::icon {{ padding-left: {s2}px; }}
QFrame[popover="true"] {{ background: {surface}; border: 1px solid {line}; border-radius: {radius}px; }}
QListView[popup="true"] {{ background: {surface}; color: {text}; border: 1px solid {line}; outline: none;
    padding: {s1}px; }}
QListView[popup="true"]::item {{ padding: {s1}px {s2}px; border-radius: {s1}px; }}
QListView[popup="true"]::item:selected {{ background: {soft_accent}; color: {text}; }}
QListView[lines="true"] {{ background: transparent; color: {text}; border: none; outline: none; }}
QToolTip {{ background: {raised}; color: {text}; border: 1px solid {line}; padding: {s1}px {s2}px; }}

QScrollBar:vertical {{ background: transparent; width: {s3}px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: {s3}px; margin: 0; }}
QScrollBar::handle {{ background: {field}; border-radius: 3px; border: 3px solid transparent; }}
QScrollBar::handle:vertical {{ min-height: {s8}px; margin: 0 3px; }}
QScrollBar::handle:horizontal {{ min-width: {s8}px; margin: 3px 0; }}
QScrollBar::handle:hover {{ background: {text3}; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page
    {{ background: none; border: none; width: 0; height: 0; }}
"""


def sheet(theme: Theme) -> str:
    """The style sheet for what `theme` says."""
    px = theme.px
    names = {name: getattr(theme.tokens, name) for name in type(theme.tokens).__dataclass_fields__}
    return _SHEET.format(
        **names,
        radius=px(t.RADIUS_CONTROL),
        radius_card=px(t.RADIUS_CARD),
        control=px(t.CONTROL),
        control_inner=px(t.CONTROL) - 2,
        main_inner=px(t.CONTROL_MAIN) - 2,
        amount_inner=px(t.S12) - 2,
        small_inner=px(t.CONTROL - t.S2) - 2,
        segment_inner=px(t.CONTROL - t.S2) - 2,
        status_inner=px(t.STATUS_BAR - t.S1),
        id_inner=px(24),
        strip=px(t.STRIP),
        pill=px(12) - 1,
        pill2=px(24) - 1,
        s1=px(t.S1),
        s2=px(t.S2),
        s3=px(t.S3),
        s3less=px(t.S3) - 1,
        s3more=px(t.S3) + 2,
        s4=px(t.S4),
        s6=px(t.S6),
        s8=px(t.S8),
    )
