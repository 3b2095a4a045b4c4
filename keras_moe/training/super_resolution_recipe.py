"""Settings of the training of super-resolution networks."""

import dataclasses

from keras_moe.checks import check, integer, plain_numbers

LOSSES = ("mse", "mae")

_ONE = {"least": 1}
_SHARE = {"above": 0, "most": 1}


@dataclasses.dataclass(frozen=True)
class Round:
    """A round in which each branch, or a single network, learns alone.

    Args:
        name: str, unique in a recipe; the stage of branch k is ``<name>_k``.
        epochs: int, of every branch, or a tuple of ints, one for each branch; 0 leaves a branch unchanged.
        own_third: bool. True: a branch learns from its own third of the patches and from the patches that the class
            module sends it. False: from the latter alone.
        loss: ``"mse"``, squared errors, which PSNR measures, or ``"mae"``, absolute errors.
        recolor_rate: float, see ``PatchBatches``.
        batch_size: int; learning_rate: float, which falls by a cosine to 1e-7.
        share: float in (0, 1], see ``SuperResolutionRecipe``; None: the recipe's.

    Example:
        >>> turn = training.Round("polish", epochs=(30, 0, 6))
        >>> turn.epochs_of(3)
        (30, 0, 6)
        >>> training.Round("squared", epochs=36).epochs_of(2)
        (36, 36)
    """

    name: str
    epochs: int | tuple[int, ...]
    own_third: bool = True
    loss: str = "mse"
    recolor_rate: float = 0.5
    batch_size: int = 16
    learning_rate: float = 1e-3
    share: float | None = None

    def __post_init__(self) -> None:
        plain_numbers(self, recolor_rate={"least": 0, "most": 1}, batch_size=_ONE, share=_SHARE)
        check("Round", "loss", self.loss, self.loss in LOSSES, f"one of {LOSSES}")
        several = self.epochs if isinstance(self.epochs, (tuple, list)) else (self.epochs,)
        plain = tuple(integer("Round", "epochs", each, 0) for each in several)
        object.__setattr__(self, "epochs", plain if several is self.epochs else plain[0])

    def epochs_of(self, branches: int) -> tuple[int, ...]:
        """The epochs of each branch, a tuple of as many ints as ``branches``, an int; ValueError for another number.

        Example:
            >>> training.Round("polish", epochs=6).epochs_of(3)
            (6, 6, 6)
        """
        epochs = (self.epochs,) * branches if isinstance(self.epochs, int) else self.epochs
        if len(epochs) != branches:
            raise ValueError(
                f"Round {self.name!r}: expected `epochs` to be an int, or {branches} of them, one for each branch. "
                f"Received: {self.epochs}"
            )
        return epochs


@dataclasses.dataclass(frozen=True)
class SuperResolutionRecipe:
    """Settings of ClassSR's training; the rates are the paper's for FSRCNN.

    Args:
        branch_epochs, class_epochs, joint_epochs: ints, epochs of each stage; 0 leaves a stage out.
        error_epochs: int, epochs in which the class module learns the branches' errors; 0 leaves that stage out.
        rounds: tuple of ``Round``, which follow in this order.
        share: float in (0, 1], the mean cost of a patch in proportion to the largest branch's MACs. ``cost_weight`` is
            set for it on the validation patches, after the training of the class module. None: it is not set.
        steps: int, batches per epoch.
        batch_size: int, of branches and of the joint stage; class_batch_size: of the class module alone.
        learning_rate: float, of the branches alone and of the errors stages; gate_rate: of the other stages. Each falls
            by a cosine to 1e-7.
        image_weight: float, of the L1 loss on [0, 1]; class_loss_weight,
            average_loss_weight: floats, see ``RoutingLoss``.
        seed: int.

    Example:
        >>> squared = training.Round("squared", epochs=36)
        >>> recipe = training.SuperResolutionRecipe(6, class_epochs=2, joint_epochs=2, rounds=(squared,), share=0.55)
        >>> recipe.first.name, recipe.first.epochs, recipe.first.loss
        ('branch', 6, 'mae')
    """

    branch_epochs: int
    class_epochs: int
    joint_epochs: int
    error_epochs: int = 0
    rounds: tuple[Round, ...] = ()
    share: float | None = None
    steps: int = 500
    batch_size: int = 16
    class_batch_size: int = 32
    learning_rate: float = 1e-3
    gate_rate: float = 2e-4
    image_weight: float = 1000.0
    class_loss_weight: float = 0.5
    average_loss_weight: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        plain_numbers(self, share=_SHARE, steps=_ONE, batch_size=_ONE, class_batch_size=_ONE)

    @property
    def first(self) -> Round:
        """The first ``Round``, on patches in their own colours.

        Example:
            >>> training.SuperResolutionRecipe(6, class_epochs=2, joint_epochs=2).first.epochs
            6
        """
        return Round("branch", self.branch_epochs, True, "mae", 0.0, self.batch_size, self.learning_rate)
