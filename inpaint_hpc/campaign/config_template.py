"""The commented configuration that `inpaint-hpc init` writes."""

EXAMPLE = """\
# A campaign of inpaint_hpc.  `inpaint-hpc plan FILE` says what it costs, `inpaint-hpc run FILE` runs it; the same
# command again, or `inpaint-hpc resume RUN`, goes on after any interruption.  Paths are relative to the folder in which
# the command is given.

# The run directory: everything is frozen in it, results and archive.h5 appear in it.
output: runs/my-campaign

# Hosts: one source or a list.  A source is a file, a folder, a pattern such as 'hosts/*.cif' or a packed HDF5 file.
hosts:
  - examples: mno2              # seven MnO2 polymorphs that come with the package; your own: 'path: hosts/*.cif'
    # path: wbm.h5
    # select: "0:1000"          # rows or ids of a file with several structures
    # split: eval               # train, val or eval of a packed file
    # elements: {include: [Mn, O], exclude: [F]}
    # atoms: 2..40              # atoms in the cell; also '..40' or '2..'
    # anion: O                  # the most electronegative element; also [O, S]
    # where: {recommended: 1, average_voltage: 0.5..4.5}      # columns of the file
    # limit: 100                # the first so many that pass
    # skip_bad: true            # leave unusable structures out instead of stopping

# Guests: a list of cases; every case is tried in every host.
guests:
  - Li: 1..2                    # one task with one Li, one with two
  - Mg: 1
  # - {Li: 1, Na: 1..3}         # several species at once, one task for each combination
  # - Li: [1, 4, 8]
  # - Li: {column: n_li}        # the number that a column of the host's file holds
  # - remove: [Li, Na]          # take all Li out and put as many back; the same with Na
  # - from_columns: {species: guest_z, count: n_guest}        # both from columns of the host's file
  # - Li: 1
  #   supercell: 2              # dilute: in a 2x2x2 cell; also [2, 2, 1] or {min_width: 9.0} (A)
  #   samples: 32               # instead of the number below

# Physically possible samples of each task.
samples: 16

# Packaged weights by name, or a .safetensors file with its card beside it; the default set if left out.
# weights: small

sampling:
  steps: 40                     # network evaluations per sample
  sampler: ancestral            # ancestral, predictor-corrector, heun or dpm-solver
  seed: 0                       # same seed, same weights: same samples, on any number of workers

pipeline:
  score: true                   # rank by CHGNet energy, otherwise by agreement of samples
  redraws: 3                    # how often impossible samples are drawn again
  tolerance: 0.5                # A; samples closer than this are the same candidate
  relax: none                   # none, guests (frozen host), positions or cell: then rank by the energy afterwards
  # top_k: 4                    # relax only the best so many candidates of each task
  # fmax: 0.05                  # eV/A; relaxed when no force is larger
  # relax_steps: 500            # most steps of a relaxation
  # chgnet: "0.3.0"             # CHGNet weights: 0.3.0, 0.2.0 or r2scan

# What may be used.  Nothing here changes a result.
resources:
  actors: auto                  # workers: one per GPU, or one per `threads` CPU cores
  # threads: 1                  # torch threads of each worker
  device: auto                  # auto, cpu or cuda
  # edge_budget: 20000          # graph edges in a batch, the measure of its memory
  shard_minutes: 5              # work of a shard, in minutes of one CPU core

# What `inpaint-hpc submit` asks SLURM for; docs/cluster.md lists all keys, options of the command line go on top.
# slurm:
#   profile: generic            # of the site, or a file
#   partition: gpu
#   account: my_project
#   nodes: 2                    # of each allocation
#   allocations: 4              # jobs that share the campaign, a job array
#   gpus_per_node: 4
#   cpus_per_task: 32           # processors of each node
#   time: "4:00:00"
#   setup: [module load python]
"""
