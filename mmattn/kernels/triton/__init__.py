"""The kernels in Triton: a file here implements the primitive of the file of the same name."""

from mmattn.kernels import choice

if choice.INTERPRETED:
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_index(tensor, scope):
        # Triton 3.6 takes int() of an array of shape (1,), which NumPy 2.4 refuses.
        patch(tensor, scope)
        scope.set_attr(tensor, '__index__', lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_index
