"""The path of annealing of a small machine, by sums over all states in float64."""

import numpy as np


class Marginals:
    """The path's unnormalized marginals `f[beta]` and Gibbs kernels of the left side, by sums in float64."""

    def __init__(self, machine, base, betas):
        left_bias, right_bias, coupling = (np.asarray(w, np.float64) for w in machine.get_weights())
        left_states, right_states = (
            np.array(list(np.ndindex(*[2] * n)), np.float64) for n in (len(left_bias), len(right_bias))
        )
        self.left_states = left_states
        self.f, self.kernels = [], []
        for beta in betas:
            a = (1 - beta) * base[0] + beta * left_bias
            b = (1 - beta) * base[1] + beta * right_bias
            joint = np.exp(
                (left_states @ a)[:, None] + right_states @ b + beta * left_states @ coupling @ right_states.T
            )
            right_given_left = joint / joint.sum(axis=1, keepdims=True)
            left_given_right = joint / joint.sum(axis=0, keepdims=True)
            self.f.append(joint.sum(axis=1))
            self.kernels.append(right_given_left @ left_given_right.T)

    def inverse_weights(self, *, kernel_of_the_new_temperature=True):
        """E(Z_base-free 1 / w | first state of the reverse path) for every left state."""
        mean = self.f[0] / self.f[1]
        for k in range(2, len(self.f)):
            kernel = self.kernels[k - 1 if kernel_of_the_new_temperature else k]
            mean = self.f[k - 1] / self.f[k] * (kernel @ mean)
        return mean

    def identity(self, inverse_weights):
        """E(1 / w) Z / Z_base over exact samples: 1 for the exact reversal."""
        return self.f[-1] @ inverse_weights / self.f[0].sum()
