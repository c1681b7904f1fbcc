"""Images: what a board of DYNAP-SE2 or DYNAP-SE1 is given.

:meth:`neurorobust.deploy.Deployment.image` makes an :class:`Image`, :func:`load_image` reads one. Nothing of a network
is in it but integers and bias currents; :meth:`Image.check` and :meth:`Image.circuit` need nothing else.
"""

from .codes import BiasCode
from .image import Image
from .layout import BIASES, LAYOUTS, Bias, Layout
from .parts import Destination, Entry, ImageLayer, ImageNeuron, Input, Latches, Synapse
from .reading import load_image
from .simulated import FilterLinearity

__all__ = [
    "BIASES",
    "LAYOUTS",
    "Bias",
    "BiasCode",
    "Destination",
    "Entry",
    "FilterLinearity",
    "Image",
    "ImageLayer",
    "ImageNeuron",
    "Input",
    "Latches",
    "Layout",
    "Synapse",
    "load_image",
]
