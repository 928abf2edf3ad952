"""What the shipped weights must know, on real crystals: guests are pushed off host atoms and pulled to their sites."""

import pytest
import torch

from inpaint_hpc.crystals.batch import Crystals, Guests
from inpaint_hpc.crystals.neighbors import neighbor_pairs, periodic_images
from inpaint_hpc.crystals.packed import PackedDataset
from inpaint_hpc.crystals.reading import read_hosts
from inpaint_hpc.network.weights import list_weights, load_network

EXAMPLES = "inpaint_hpc/examples/mno2"


@pytest.fixture(scope="module")
def network():
    return load_network()


def test_every_packaged_set_is_what_its_card_says():
    sets = list_weights()
    assert "small" in [info.name for info in sets]
    for info in sets:
        assert info.verify() and info.path.stat().st_size < 16e6
        assert {"data", "training", "licence", "versions", "metrics"} <= set(info.card)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0])
def test_guests_close_to_a_host_atom_are_pushed_away(network, sigma):
    """Li 0.5 A from each atom of the MnO2 hosts, in random directions: denoising hardly ever brings it closer to one.

    At these noise levels sampling decides on a site; no training crystal has a guest there.
    """
    batch = Crystals.from_list(read_hosts([EXAMPLES]))
    n = len(batch.numbers)
    direction = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    near = batch.positions + 0.5 * torch.nn.functional.normalize(direction, dim=1)
    guests = Guests(torch.full((n,), 3), near, torch.arange(n), batch.crystal)
    denoised = near + sigma * network.denoise(network.encode(batch), guests, torch.full((n,), sigma))
    pairs = neighbor_pairs(denoised, batch.crystal, batch.positions, batch.crystal, periodic_images(batch.cells, 4.0))
    distance = torch.full((n,), 4.0).scatter_reduce(0, pairs.receiver, pairs.vector.norm(dim=1), "amin")
    assert (distance < 0.5).float().mean() < 0.15
    assert distance.median() > 0.8


def test_small_noise_is_taken_off_again(network):
    """Atoms displaced by 0.2 A in held-out crystals come back to within less than half of that, typically."""
    dataset = PackedDataset("tests/data/smoke.h5", "val")
    generator = torch.Generator().manual_seed(1)
    before, after = [], []
    for crystal in (dataset[i] for i in range(len(dataset))):
        ion = int(crystal.numbers[0])
        mask = crystal.numbers == ion
        if mask.all():
            continue
        host = Crystals.from_list([crystal.without(ion)])
        clean = torch.tensor(crystal.positions[mask]).float()
        noise = 0.2 * torch.randn(clean.shape, generator=generator)
        zeros = torch.zeros(len(clean), dtype=torch.long)
        guests = Guests(torch.full((len(clean),), ion), clean + noise, zeros, torch.zeros(1).long())
        result = network.denoise(network.encode(host), guests, torch.tensor([0.2]))
        before.append(noise.norm(dim=1))
        after.append((noise + 0.2 * result).norm(dim=1))
    assert torch.cat(after).median() < 0.4 * torch.cat(before).median()


def test_hosts_of_the_demonstration_get_guests_at_physical_distances(network):
    """Two sampled Li in each MnO2 host: nearly none within 1.2 A of a host atom."""
    from inpaint_hpc.sampling.sample import SamplingSettings, Task, sample

    hosts = read_hosts([EXAMPLES])
    results = sample(network, [Task(h, {"Li": 1}) for h in hosts], SamplingSettings(samples=8))
    close = []
    for host, drawn in zip(hosts, results, strict=True):
        batch = Crystals.from_list([host])
        positions = torch.tensor(drawn.frac_coords[:, 0] @ host.lattice).float()
        zeros = torch.zeros(len(positions), dtype=torch.long)
        pairs = neighbor_pairs(positions, zeros, batch.positions, batch.crystal, periodic_images(batch.cells, 1.2))
        close.append(pairs.lengths > 0)
    assert torch.cat(close).float().mean() < 0.1
