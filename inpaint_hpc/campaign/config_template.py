"""The commented configuration that `inpaint-hpc init` writes."""

EXAMPLE = """\
# A campaign of inpaint_hpc.  `inpaint-hpc plan FILE` estimates its cost, `inpaint-hpc run FILE` runs it.  After any
# interruption, the same command or `inpaint-hpc resume RUN` continues it.  Paths are relative to the folder in which
# the command is run.

# The run directory: holds frozen copies of all inputs, the results, and archive.h5.
output: runs/my-campaign

# Hosts: one source or a list.  A source is a file, a folder, a pattern such as 'hosts/*.cif', or a packed HDF5 file.
hosts:
  - examples: mno2              # seven MnO2 polymorphs from the package; for your own: 'path: hosts/*.cif'
    # path: wbm.h5
    # select: "0:1000"          # rows or ids of a file with several structures
    # split: eval               # train, val or eval of a packed file
    # elements: {include: [Mn, O], exclude: [F]}
    # atoms: 2..40              # atoms in the cell; also '..40' or '2..'
    # anion: O                  # the most electronegative element; also [O, S]
    # where: {recommended: 1, average_voltage: 0.5..4.5}      # values of columns in the file
    # limit: 100                # use only the first 100 that pass
    # skip_bad: true            # leave unusable structures out instead of stopping

# Guests: a list of cases; each case is placed in every host.
guests:
  - Li: 1..2                    # one task with one Li, one with two
  - Mg: 1
  # - {Li: 1, Na: 1..3}         # several species at once; one task for each combination
  # - Li: [1, 4, 8]
  # - Li: {column: n_li}        # number of guests from a column of the host's file
  # - remove: [Li, Na]          # remove all Li and place as many again; likewise Na
  # - remove_last: {species: guest_z, count: n_guest}         # remove the last atoms of each host, as columns say
  # - from_columns: {species: guest_z, count: n_guest}        # both from columns of the file
  # - Li: 1
  #   supercell: 2              # dilute guests: a 2x2x2 cell; also [2, 2, 1] or {min_width: 9.0} (A)
  #   samples: 32               # overrides the number below

# Physically possible samples per task.
samples: 16

# Name of packaged weights, or a .safetensors file with its model card beside it; omit for the default weights.
# weights: small

# Guests that were taken out (remove) count as right up to this times (V / N)^(1/3) from where they were.
# match_tolerance: 0.2

sampling:
  steps: 40                     # network evaluations per sample
  sampler: ancestral            # ancestral, predictor-corrector, heun or dpm-solver
  seed: 0                       # same seed and weights give the same samples, on any number of workers

pipeline:
  score: true                   # rank by CHGNet energy; if false, by agreement between samples
  redraws: 3                    # maximum rounds of resampling for impossible samples
  tolerance: 0.5                # samples closer than this (A) are the same candidate
  relax: none                   # none, guests (frozen host), positions or cell; ranks by relaxed energy
  # top_k: 4                    # relax only the 4 most promising candidates of each task
  # fmax: 0.05                  # largest force of a relaxed structure, eV/A
  # relax_steps: 500            # maximum number of relaxation steps
  # chgnet: "0.3.0"             # CHGNet weights: 0.3.0, 0.2.0 or r2scan
  # max_energy_evaluations: 48  # several guests: CHGNet energies of orderings (more above 4 guests; 0: no search)
  # max_candidates: 32          # several guests: maximum number of candidates to keep
  # voids: 8                    # one guest: voids of the host tried beside what samples show (0: none)
  # host_stiffness: 5           # several guests, not relaxed: eV/A^2; smaller lets samples weigh more, 0: energy alone
  # n_sequential: 8             # several guests: samples that place one guest after another
  # refine_sigma: 0.1           # several guests: noise (A) of the refinement by the score model; 0 turns it off

# Resources to use.  Nothing here changes a result.
resources:
  actors: auto                  # number of workers; auto: one per GPU (up to 4 with CUDA MPS), or per `threads` cores
  # threads: 1                  # torch threads per worker
  device: auto                  # auto, cpu or cuda
  # analysis: auto              # processes beside each worker that keep a GPU from waiting; auto: none on CPUs
  # units_at_once: auto         # units that each worker has in flight; auto: 3 on GPUs with such processes, else 1
  # edge_budget: 20000          # maximum graph edges per batch; limits memory
  # shard_minutes: 5            # work per shard, in minutes on one CPU core; GPUs by default get what takes them 10 s

# What `inpaint-hpc submit` requests from SLURM; docs/cluster.md lists all keys.  Command-line options override these.
# slurm:
#   profile: generic            # site profile: a name or a file
#   partition: gpu
#   account: my_project
#   nodes: 2                    # nodes per allocation
#   allocations: 4              # jobs that share the campaign, as a job array
#   gpus_per_node: 4
#   cpus_per_task: 32           # processors per node
#   time: "4:00:00"
#   setup: [module load python]
"""
