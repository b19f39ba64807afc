"""Key presses on a page, for Python."""

import param
from panel.custom import JSComponent


class Keys(JSComponent):
    """The page's keys. Neither Panel nor Bokeh hands key presses to Python, so that these few lines do."""

    keys = param.List(doc="Those that are handed on; all others keep their meaning, and so do all in a text field.")

    _esm = """
    export function render({model}) {
      const press = (event) => {
        const at = event.composedPath()[0]
        if (event.altKey || event.metaKey || at.matches?.("input:not([type=range]), textarea, select")) return
        if (at.matches?.("button:focus-visible") && [" ", "Enter"].includes(event.key)) return
        const key = (event.ctrlKey ? "Control+" : "") + event.key
        if (!model.keys.includes(key)) return
        event.preventDefault()
        model.send_msg(key)
      }
      document.addEventListener("keydown", press)
      model.on("remove", () => document.removeEventListener("keydown", press))
      return document.createElement("span")
    }
    """
