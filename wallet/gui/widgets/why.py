"""Why a control cannot be used. Nothing in the window is disabled but here, so that nothing is without its reason."""

from __future__ import annotations

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QLabel, QWidget

from wallet.gui import format as fmt
from wallet.gui.tips import plain_tip
from wallet.gui.widgets.basic import keyboard_on

__all__ = ["tell_why", "why_not"]

_WHY, _TIP_BEFORE, _DESCRIPTION_BEFORE = "why", "tipBefore", "descriptionBefore"
_HAD_KEYBOARD = "hadKeyboard"


def tell_why(control: QWidget, sentence: str, line: QLabel | None = None) -> None:
    """Disables a control, with the reason as its tooltip and its description; without a reason, enables it.

    A page's filled button has its reason where everybody reads it too: in a `line` near it, a banner or a field.

    The keyboard does not move on meanwhile, as Qt would have it, to whatever comes next: what was pressed has it again
    when it can be used again.
    """
    sentence = fmt.retold(sentence)
    if line is not None:
        line.setText(sentence)
    if sentence and control.isEnabled() and keyboard_on(control) is control:
        control.clearFocus()
        control.setProperty(_HAD_KEYBOARD, True)
    control.setEnabled(not sentence)
    if not sentence and control.property(_HAD_KEYBOARD):
        control.setProperty(_HAD_KEYBOARD, False)
        if keyboard_on(control) is None:
            control.setFocus(Qt.FocusReason.OtherFocusReason)
    told = str(control.property(_WHY) or "")
    if sentence == told:
        return
    if not told:
        control.setProperty(_TIP_BEFORE, control.toolTip())
        control.setProperty(_DESCRIPTION_BEFORE, control.accessibleDescription())
    control.setProperty(_WHY, sentence)
    control.setToolTip(plain_tip(sentence) if sentence else str(control.property(_TIP_BEFORE) or ""))
    control.setAccessibleDescription(sentence or str(control.property(_DESCRIPTION_BEFORE) or ""))


def why_not(control: QWidget) -> str:
    """The reason that was told for a control, or for what it is a part of."""
    step: QWidget | None = control
    while step is not None:
        told = str(step.property(_WHY) or "")
        if told:
            return told
        step = step.parentWidget()
    return ""
