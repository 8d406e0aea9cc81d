"""Every exception of this library; the code of an error leads to its page.

``linnet explain LN101`` prints the page, which is the docstring of the class: what happened, a
program that is wrong, one that is right, and the reason. Codes run in hundreds by kind: LN1xx
randomness, LN2xx variables and scopes, LN3xx modules, LN4xx transforms, LN5xx the input of layers,
LN6xx data and files, LN7xx flags.
"""

from linnet.errors._base import (
    FlaxError,
    LinnetError,
    SharpBitWarning,
)
from linnet.errors.calls import (
    CallCompactUnboundModuleError,
    CallSetupUnboundModuleError,
    CallShareScopeOnUnboundModuleError,
    CallUnbindOnUnboundModuleError,
    DescriptorAttributeError,
    FieldError,
    IncorrectPostInitOverrideError,
    InvalidInstanceModuleError,
    ParentError,
)
from linnet.errors.data import (
    AlreadyExistsError,
    CursorFindError,
    DictTypeError,
    FrozenDictError,
    InvalidCheckpointError,
    MPACheckpointingRequiredError,
    MPARestoreDataCorruptedError,
    MPARestoreTargetRequiredError,
    SerializationError,
    StateDictError,
    TraverseTreeError,
)
from linnet.errors.layers import (
    CarryError,
    InputDtypeError,
    InputShapeError,
    InvalidOptionError,
    MaskError,
    TokenIdError,
)
from linnet.errors.modules import (
    ApplyModuleInvalidMethodError,
    AssignSubModuleError,
    BindingError,
    InvalidInitializerError,
    MultipleMethodsCompactError,
    NameInUseError,
    ReservedModuleAttributeError,
    SetAttributeFrozenModuleError,
    SetAttributeInModuleSetupError,
)
from linnet.errors.randomness import (
    InvalidRngError,
)
from linnet.errors.settings import (
    FlagValueError,
    UnknownFlagError,
)
from linnet.errors.transforms import (
    JaxTransformError,
    TraceContextError,
    TransformedMethodReturnValueError,
    TransformTargetError,
)
from linnet.errors.variables import (
    ApplyScopeInvalidVariablesStructureError,
    ApplyScopeInvalidVariablesTypeError,
    ImmutableVariableError,
    InvalidFilterError,
    InvalidScopeError,
    LazyInitError,
    ModifyScopeVariableError,
    PartitioningUnspecifiedError,
    ScopeCollectionNotFound,
    ScopeParamNotFoundError,
    ScopeParamShapeError,
    ScopeVariableNotFoundError,
)

__all__ = [
    'AlreadyExistsError',
    'ApplyModuleInvalidMethodError',
    'ApplyScopeInvalidVariablesStructureError',
    'ApplyScopeInvalidVariablesTypeError',
    'AssignSubModuleError',
    'BindingError',
    'CallCompactUnboundModuleError',
    'CallSetupUnboundModuleError',
    'CallShareScopeOnUnboundModuleError',
    'CallUnbindOnUnboundModuleError',
    'CarryError',
    'CursorFindError',
    'DescriptorAttributeError',
    'DictTypeError',
    'FieldError',
    'FlagValueError',
    'FlaxError',
    'FrozenDictError',
    'ImmutableVariableError',
    'IncorrectPostInitOverrideError',
    'InputDtypeError',
    'InputShapeError',
    'InvalidCheckpointError',
    'InvalidFilterError',
    'InvalidInitializerError',
    'InvalidInstanceModuleError',
    'InvalidOptionError',
    'InvalidRngError',
    'InvalidScopeError',
    'JaxTransformError',
    'LazyInitError',
    'LinnetError',
    'MPACheckpointingRequiredError',
    'MPARestoreDataCorruptedError',
    'MPARestoreTargetRequiredError',
    'MaskError',
    'ModifyScopeVariableError',
    'MultipleMethodsCompactError',
    'NameInUseError',
    'ParentError',
    'PartitioningUnspecifiedError',
    'ReservedModuleAttributeError',
    'ScopeCollectionNotFound',
    'ScopeParamNotFoundError',
    'ScopeParamShapeError',
    'ScopeVariableNotFoundError',
    'SerializationError',
    'SetAttributeFrozenModuleError',
    'SetAttributeInModuleSetupError',
    'SharpBitWarning',
    'StateDictError',
    'TokenIdError',
    'TraceContextError',
    'TransformTargetError',
    'TransformedMethodReturnValueError',
    'TraverseTreeError',
    'UnknownFlagError',
]
