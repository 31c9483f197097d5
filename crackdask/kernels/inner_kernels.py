"""How a kernel is compiled that another kernel calls: as a part of its caller, without machine code of its own.

numba makes each function ready for Python: it wraps it, optimises it, has machine code made of it and puts that into a
file. Those that only kernels call need none of it, for numba links what they are into each caller and optimises that as
a whole. This module is loaded with numba.
"""

from __future__ import annotations

from typing import Any

from numba.core import sigutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NoPythonSupportedFeatureValidation


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """Code that is there to be linked into that of callers, which are optimised as a whole."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _ApartLibrary(_Library):
    """Code that is optimised before it is linked as well: among all that a caller does, its loops become no vectors."""

    _optimize_functions = JITCodeLibrary._optimize_functions
    _optimize_final_module = JITCodeLibrary._optimize_final_module


class _Entry:
    """What numba knows a kernel by that has no entry for Python."""


@register_pass(mutates_CFG=False, analysis_only=True)
class _WithoutEntry(FunctionPass):  # type: ignore[misc]
    """Have the code that follows made without a way in from Python.

    The flags are set no sooner: functions of numba's own that a kernel calls are looked up by them.
    """

    _name = "crackdask_without_entry"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    _library: type[_Library] = _Library

    def run_pass(self, state: Any) -> bool:
        state.flags.no_cpython_wrapper = state.flags.no_compile = True
        state.library = self._library(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


@register_pass(mutates_CFG=False, analysis_only=True)
class _Apart(_WithoutEntry):
    _name = "crackdask_without_entry_apart"
    _library = _ApartLibrary


class _Pipeline(CompilerBase):  # type: ignore[misc]
    _made: type[_WithoutEntry] = _WithoutEntry

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(self._made, NoPythonSupportedFeatureValidation)
        passes.finalize()
        return [passes]


class _ApartPipeline(_Pipeline):
    _made = _Apart


def compile_inner(kernel: Any, signature: Any, apart: bool) -> Any:
    """Compile a kernel for a kernel that calls it, unless it is compiled; return what numba knows it by.

    `apart` optimises it by itself before its caller is optimised.
    """
    args, return_type = sigutils.normalize_signature(signature)
    known = kernel.overloads.get(args)
    if known is None:
        compiler = kernel._compiler
        usual, compiler.pipeline_class = compiler.pipeline_class, _ApartPipeline if apart else _Pipeline
        try:
            known = compiler.compile(args, return_type)._replace(entry_point=_Entry())
        finally:
            compiler.pipeline_class = usual
        kernel.targetctx.insert_user_function(known.entry_point, known.fndesc, [known.library])
        kernel.overloads[args] = known
    return known.entry_point


def forget_inner(kernel: Any, signature: Any) -> None:
    """Forget what a kernel was compiled to for its callers, now that Python calls it."""
    args, _ = sigutils.normalize_signature(signature)
    known = kernel.overloads.get(args)
    if known is not None and isinstance(known.entry_point, _Entry):
        del kernel.overloads[args]


def set_environments(kernel: Any, signature: Any) -> None:
    """Let code find the constants of kernels that were linked into it, as numba does when it loads it from a file."""
    args, _ = sigutils.normalize_signature(signature)
    known = kernel.overloads[args]
    environments = known._find_referenced_environments()
    for environment in environments:
        known.codegen.set_env(environment.env_name, environment)
    kernel.overloads[args] = known._replace(referenced_envs=environments)  # as long as the code is there, they are
