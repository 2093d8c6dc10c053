"""Compile the kernels against the torch that is there; without one, or without a compiler,
the package is built all the same and says why it has none."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from glob import glob
from multiprocessing.pool import ThreadPool
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
# The standard of C++ is the one that this torch asks for.
FLAGS = ['-O3', '-g0', '-fopenmp-simd', '-fno-math-errno', '-fno-trapping-math']


class Build(build_ext):
    def run(self) -> None:
        built = dict(torch=None, error=None)
        try:
            import torch

            built['torch'] = torch.__version__
            self.compile()
        except (Exception, SystemExit) as error:  # whatever an import or a compiler raises
            said = ' '.join(str(error).split()) or type(error).__name__
            built['error'] = said if len(said) < 300 else f'{said[:300]} ...'
            print(f'mmattn-kernels is built without its kernels: {built["error"]}', file=sys.stderr)
        target = HERE if self.inplace else Path(self.build_lib)
        (target / 'mmattn_kernels').mkdir(parents=True, exist_ok=True)
        (target / 'mmattn_kernels' / 'built.json').write_text(json.dumps(built))

    def compile(self) -> None:
        from torch.utils.cpp_extension import BuildExtension, CppExtension, get_cxx_compiler

        compiler = shlex.split(get_cxx_compiler())
        if not shutil.which(compiler[0]):
            raise RuntimeError(f'no C++ compiler was found (looked for {compiler[0]})')
        # GCC's OpenMP is the one that torch for Linux runs on. Beside another, its threads would
        # be two sets that wait for each other: those compilers take the other way of `parallel`.
        version = subprocess.run([*compiler, '--version'], capture_output=True, text=True).stdout
        threads = ['-fopenmp'] if sys.platform == 'linux' and 'clang' not in version else []
        headers = sorted(glob('src/*.h') + glob('src/*.inc'))
        # In the order of their names: of functions that several files have, such as std::vector's,
        # the linker takes the first, which has to run on any CPU. target_avx512 comes late.
        sources = sorted(glob('src/*.cpp'))
        options = dict(
            depends=headers, extra_compile_args=[*FLAGS, *threads], extra_link_args=threads
        )
        self.distribution.ext_modules = [CppExtension('mmattn_kernels._C', sources, **options)]

        class InParallel(BuildExtension):
            """Without ninja too."""

            def build_extension(self, extension: Extension) -> None:
                if not self.use_ninja:
                    one = self.compiler.compile

                    def compile_all(sources: list[str], *args, **kwargs) -> list[str]:
                        jobs = int(os.environ.get('MAX_JOBS') or os.cpu_count() or 1)
                        with ThreadPool(jobs) as pool:
                            return sum(pool.map(lambda x: one([x], *args, **kwargs), sources), [])

                    self.compiler.compile = compile_all
                super().build_extension(extension)

        command = InParallel(self.distribution)
        command.build_lib, command.build_temp = self.build_lib, self.build_temp
        command.inplace = self.inplace
        command.ensure_finalized()
        command.run()


os.chdir(HERE)
# A placeholder, so that the wheel is one of this platform; Build makes the real one.
setup(ext_modules=[Extension('mmattn_kernels._C', [])], cmdclass=dict(build_ext=Build))
