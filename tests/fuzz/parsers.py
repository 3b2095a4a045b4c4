"""Every parser of strangers' data: name -> (strategy of its cases, what must hold for each of them).

A case passes if the parser returns what is sound or raises the error that its docstring names; all else is a fault.
"""

import attached
import described
import pictured

PARSERS = described.PARSERS | attached.PARSERS | pictured.PARSERS
