# requires: netket==3.23.0
"""Finds the ground state of a spin chain with NetKet: a Boltzmann machine and a drawn one."""

import flax
import netket as nk
import numpy as np
from _digests import show

graph = nk.graph.Chain(6)
hilbert = nk.hilbert.Spin(0.5, 6)
energy = nk.operator.IsingJax(hilbert=hilbert, graph=graph, h=1.0)
for model, sampler in (
    (nk.models.RBM(alpha=1), nk.sampler.MetropolisLocal(hilbert, n_chains=8)),
    (
        nk.models.ARNNDense(hilbert=hilbert, layers=2, features=3),
        nk.sampler.ARDirectSampler(hilbert),
    ),
):
    name = type(model).__name__
    state = nk.vqs.MCState(sampler, model, n_samples=64, seed=3, sampler_seed=4)
    driver = nk.driver.VMC(
        energy,
        nk.optimizer.Sgd(0.05),
        variational_state=state,
        preconditioner=nk.optimizer.SR(diag_shift=0.01),
    )
    log = nk.logging.RuntimeLog()
    driver.run(4, out=log, show_progress=False)
    print(name, np.asarray(log.data['Energy']['Mean']).tolist(), state.n_parameters)
    show('parameters', state.parameters)
    show('samples', state.samples)
    mean, gradient = state.expect_and_grad(energy)
    print(mean)
    show('gradient', gradient)
    saved = flax.serialization.to_bytes(state)
    other = nk.vqs.MCState(sampler, model, n_samples=64, seed=5)
    show('restored', flax.serialization.from_bytes(other, saved).variables)
