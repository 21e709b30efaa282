"""Bad input at every door: one line that names the place, exit status 2, no traceback, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from facelesion import cli, train

LONG = "n" * 300
LAUGHS = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)
MODEST = "f: &f {a: 1}\n" + "".join(f"g{n}: &g{n} [{'*f' if not n else f'*g{n - 1}'}]\n" for n in range(100))

# A file that says `recipe: classify` in its first line, and this in its second.
CLASSIFY = [
    # Numbers.
    ("epochs: 0", "line 2: epochs is 0: it must be 1 to 100,000 (passes through the training pictures)"),
    ("epochs: -3", "line 2: epochs is -3: it must be 1 to 100,000"),
    ("epochs: null", "line 2: epochs is null: it must be a whole number, 1 to 100,000"),
    ("epochs:", "line 2: epochs is null: it must be a whole number"),
    ("epochs: ~", "line 2: epochs is null: it must be a whole number"),
    ("epochs: many", "line 2: epochs is 'many': it must be a whole number"),
    ("epochs: 1.5", "line 2: epochs is 1.5: it must be a whole number"),
    ("epochs: true", "line 2: epochs is true: it must be a whole number"),
    ("epochs: yes", "line 2: epochs is 'yes': it must be a whole number"),
    ("epochs: '5'", "line 2: epochs is '5': it must be a whole number"),
    ("epochs: 1:30", "line 2: epochs is '1:30': it must be a whole number"),
    ("epochs: 2024-01-01", "line 2: epochs is '2024-01-01': it must be a whole number"),
    ("epochs: [1]", "line 2: epochs is [1]: it must be a whole number"),
    ("epochs: {a: 1}", "line 2: epochs is {'a': 1}: it must be a whole number"),
    ("epochs: 1e400", "line 2: epochs is inf: it must be a whole number"),
    (f"epochs: 1{'0' * 30}", f"line 2: epochs is 1{'0' * 30}: it must be 1 to 100,000"),
    (f"epochs: {'9' * 5000}", "line 2: epochs is '9999"),
    (f"epochs: 0x{'f' * 80}", "it must be 1 to 100,000"),
    ("batch_size: 0", "line 2: batch_size is 0: it must be 1 to 65,536 (pictures in a step)"),
    ("batch_size: -1", "line 2: batch_size is -1: it must be 1 to 65,536"),
    ("batch_size: .nan", "line 2: batch_size is nan: it must be a whole number"),
    ("learning_rate: 0", "line 2: learning_rate is 0: it must be above 0 and at most 10 (of Adam)"),
    ("learning_rate: -1e-3", "line 2: learning_rate is -0.001: it must be above 0 and at most 10"),
    ("learning_rate: 1e30", "line 2: learning_rate is 1e+30: it must be above 0 and at most 10"),
    ("learning_rate: .nan", "line 2: learning_rate is nan: it must be a number, above 0 and at most 10"),
    ("learning_rate: -.inf", "line 2: learning_rate is -inf: it must be a number"),
    ("learning_rate: 1e999", "line 2: learning_rate is inf: it must be a number"),
    (f"learning_rate: 1{'0' * 90}", "it must be above 0 and at most 10"),
    ("learning_rate: fast", "line 2: learning_rate is 'fast': it must be a number"),
    ("learning_rate: null", "line 2: learning_rate is null: it must be a number"),
    ("learning_rate: false", "line 2: learning_rate is false: it must be a number"),
    ("seed: -1", "line 2: seed is -1: it must be 0 to 4,294,967,295 (of everything drawn at random)"),
    ("seed: 1e30", "line 2: seed is 1e+30: it must be 0 to 4,294,967,295"),
    ("seed: 4294967296", "line 2: seed is 4294967296: it must be 0 to 4,294,967,295"),
    ("seed: null", "line 2: seed is null: it must be a whole number"),
    ("seed: 0.5", "line 2: seed is 0.5: it must be a whole number"),
    ("seed: .inf", "line 2: seed is inf: it must be a whole number"),
    # Work that no machine could finish.
    ("data: {people: 1000000000}",
     "line 2: data.people is 1000000000: it must be 3 to 100,000; so many take 37.6 TB of memory"),
    (f"data: {{people: 1{'0' * 30}}}",
     "it must be 3 to 100,000; so many take 3.76e+22 TB of memory (how many people)"),
    ("data: {people: 100_000, pictures: 1_000}",
     "people 100,000 × pictures 1,000: 100,000,000 pictures take 3.76 TB of memory"),
    # Pictures.
    ("data: 5", "line 2: data is 5: it must be settings, each as key: value"),
    ("data:", "line 2: data is null: it must be settings"),
    ("data: []", "line 2: data is []: it must be settings"),
    ("data:\n  people: 0", "line 3: data.people is 0: it must be 3 to 100,000 (how many people)"),
    ("data:\n  people: 20\n  pictures: 1", "line 4: data.pictures is 1: it must be 2 to 1,000"),
    ("data: {keep: -1}", "line 2: data.keep is -1: it must be 0 to 100,000,000"),
    ("data: {source: lfww}",
     "line 2: data.source is 'lfww': did you mean lfw? It must be one of facespace, lfw"),
    ("data: {source: null}", "line 2: data.source is null: it must be one of facespace, lfw"),
    ("data: {poeple: 3}", "line 2: data.poeple is no setting: did you mean people?"),
    ("data: {stimuli: []}", "line 2: data.stimuli is []: it must name at least one"),
    ("data: {stimuli: intact}", "line 2: data.stimuli is 'intact': it must be a list"),
    ("data: {stimuli: [intact, intact]}", "'intact' stands there twice"),
    ("data:\n  stimuli:\n    - intact\n    - mask ears",
     "line 5: data.stimuli.1 is 'mask ears': no region 'ears'"),
    ("data: {stimuli: [null]}", "line 2: data.stimuli.0 is null: it must be text"),
    ("data: {stimuli: [[intact]]}", "line 2: data.stimuli.0 is ['intact']: it must be text"),
    ("data: {tests: null}", "line 2: data.tests is null: it must be a list (how pictures are shown in tests)"),
    # Settings that do nothing beside the others.
    ("data: {root: nowhere}",
     "line 2: data.root does nothing with source facespace: leave it out, or set source to lfw"),
    ("data:\n  landmarker: face.task", "line 3: data.landmarker does nothing with source facespace"),
    ("data: {prepared: x}", "line 2: data.prepared does nothing with source facespace"),
    ("data: {protocols: x}", "line 2: data.protocols does nothing with source facespace"),
    ("data: {objects: ''}", "line 2: data.objects is '': it must not be blank: leave it out, or give a path"),
    ("sham: true", "line 2: sham does nothing without lesion: leave it out, or set lesion"),
    ("training_only: on", "line 2: training_only does nothing without lesion"),
    ("run: {resume: true, overwrite: true}", "line 2: run.overwrite does nothing with resume true"),
    # Choices, switches, keys.
    ("task: detect",
     "line 2: task is 'detect': did you mean detection? It must be one of detection, identification"),
    ("task: null", "line 2: task is null: it must be one of detection, identification"),
    ("task: [detection]", "line 2: task is ['detection']: it must be one of detection, identification"),
    ("trained: heads", "line 2: trained is 'heads': did you mean head?"),
    ("course: 3", "line 2: course is 3: it must be true or false"),
    ("course: perhaps", "line 2: course is 'perhaps': it must be true or false"),
    ("run: {precision: 16}", "line 2: run.precision is 16: it must be one of 32-true, tf32, bf16-mixed, 16-mixed"),
    ("run: {devices: 0}", "line 2: run.devices is 0: it must be a whole number, 1 to 1,024 or auto"),
    ("run: {devices: all}", "line 2: run.devices is 'all': it must be a whole number, 1 to 1,024 or auto"),
    ("run: {patience: -1}", "line 2: run.patience is -1: it must be 0 to 100,000"),
    ("run: {accelerator: null}", "line 2: run.accelerator is null: it must be text"),
    ("run: {strategy: ''}", "line 2: run.strategy is '': it must not be blank"),
    ("recipe: classify", "line 2: 'recipe' stands here again, after line 1: keep one"),
    ("epochs: 3\nseed: 1\nepochs: 4", "line 4: 'epochs' stands here again, after line 2: keep one"),
    ("data: {people: 3, people: 4}", "line 2: 'people' stands here again, after line 2"),
    ("epochz: 3", "line 2: epochz is no setting: did you mean epochs?"),
    ("1: 3", "line 2: 1 is no setting: there are network, task"),
    ("off: 3", "line 2: off is no setting"),
    ("[epochs]: 3", "line 2: a list or mapping stands where a key belongs"),
    ("? {a: 1}\n: 3", "line 2: a list or mapping stands where a key belongs"),
    ("~: 3", "line 2: a key is missing before the colon"),
    # Lesions.
    ("lesion: 5", "line 2: lesion is 5: it must be a list"),
    ("lesion: {kind: Ablate, site: conv5_3}", "it must be a list (damage in place while it learns"),
    ("lesion: [5]", "line 2: lesion.0 is 5: it must be settings, each as key: value"),
    ("lesion: [null]", "line 2: lesion.0 is null: it must be settings"),
    ("lesion:\n  - {kind: Ablate, site: conv5_3}\n  - {kind: Abalate, site: conv5_3}",
     "line 4: lesion.1 is {'kind': 'Abalate', 'site': 'conv5_3'}: no kind of lesion is called 'Abalate'"),
    ("lesion: [{kind: Ablate, sight: conv5_3}]", "Ablate has no key 'sight': did you mean 'site'?"),
    ("lesion: [{kind: Ablate, site: conv5_3, fraction: 2}]", "fraction must lie in 0 to 1"),
    # Names, paths, and places that cannot be written.
    ("network: null", "line 2: network is null: it must be text"),
    ("network: ''", "line 2: network is '': it must not be blank"),
    ("network: [a]", "line 2: network is ['a']: it must be text"),
    ('network: "a\\0b"', "line 2: network is 'a\\x00b': it must be text"),
    ("network: ~/x.safetensors", "line 2: network is '~/x.safetensors': ~ is not understood here"),
    (f"network: {LONG}.safetensors", "it is longer than a path can be"),
    ("network: nobody.safetensors", "nobody.safetensors: no such weights file"),
    ("run: {folder: ''}", "line 2: run.folder is '': it must not be blank"),
    ("run: {folder: null}", "line 2: run.folder is null: it must be text"),
    ('run: {folder: "a\\nb"}', "line 2: run.folder is 'a\\nb': it must not hold the character '\\n'"),
    (f"run: {{folder: {LONG}}}", "it is longer than a path can be"),
    (f"run: {{folder: {'d/' * 2500}}}", "it is longer than a path can be"),
    ("run: {folder: /proc/runs}", "run.folder: nothing can be written to /proc/runs"),
    ("run: {folder: /dev/null/runs}",
     "run.folder: nothing can be written to /dev/null/runs (/dev/null is no folder)"),
    ("run: {folder: config.yaml}",
     "run.folder: nothing can be written to config.yaml (config.yaml is no folder)"),
    ("run: {folder: config.yaml/a/b}", "config.yaml is no folder): choose another place"),
    ("weights: ''", "line 2: weights is '': it must not be blank"),
    ("weights: .", "weights: nothing can be written to . (that is a folder)"),
    ("weights: /proc/w.safetensors", "weights: nothing can be written to /proc/w.safetensors"),
    ("weights: config.yaml/w.safetensors", "config.yaml is no folder"),
]  # fmt: skip

# Whole files.
FILES = [
    ("", "config.yaml: empty: there is nothing to read in it"),
    ("# nothing but this\n", "config.yaml: empty"),
    ("- recipe: classify\n", "config.yaml, line 1: a list stands there: settings are written as key: value"),
    ("classify\n", "config.yaml, line 1: a single value stands there"),
    ("epochs: 3\n", "config.yaml: says no `recipe:`, such as distil or classify"),
    ("recipe: null\n", "config.yaml: says no `recipe:`"),
    ("recipe: cooking\n", "no recipe is called 'cooking'"),
    ("recipe: classify\n---\nepochs: 3\n", "line 2: a second document begins here (---): keep one in a file"),
    ("recipe: classify\n\tepochs: 3\n", "line 2: not YAML (found "),
    ("recipe: classify\ndata:\n\tpeople: 3\n", "a tab stands at the line's beginning, use spaces"),
    ("recipe: classify\nnetwork: a: b\n",
     "line 2: not YAML (mapping values are not allowed"),
    ("recipe: 'classify\n", "not YAML (found unexpected end of stream)"),
    ("recipe: [classify\n", "not YAML"),
    ("recipe: @classify\n", "line 1: not YAML (found character "),
    ("recipe: classify\x07\n", "line 1: holds a character that no text has ('\\x07')"),
    ("recipe: classify\nseed: 1\x00\n", "line 2: holds a character that no text has ('\\x00')"),
    (b"recipe: cl\xe4ssify\n", "line 1: not UTF-8 text (byte 0xe4): save the file as UTF-8"),
    (b"\x89PNG\r\n\x1a\n", "line 1: not UTF-8 text (byte 0x89)"),
    (b"\xff\xfer\x00", "line 1: a single value stands there"),
    (b"\xff\xfer", "not UTF-8 text"),
    ("x" * 1_000_001, "config.yaml: more than 1,000,000 bytes"),
    ("a: " + "[" * 100_000, "line 1: more than 40 levels deep"),
    ("a: " + "{a: " * 100_000, "line 1: more than 40 levels deep"),
    ("- " * 100_000, "line 1: more than 40 levels deep"),
    ("".join(" " * n + "a:\n" for n in range(200)), "line 41: more than 40 levels deep"),
    (LAUGHS, "values with every *alias written out: too many"),
    (MODEST, "more than 40 levels deep"),
    ("recipe: &a [*a]\n", "line 1: *a stands inside &a itself: it would never end"),
    ("recipe: &a {b: {c: *a}}\n", "line 1: *a stands inside &a itself"),
    ("recipe: *a\n", "line 1: *a: nothing above it is marked &a"),
    ("recipe: classify\n<<: 3\n", "line 2: <<: takes a mapping"),
    ("recipe: !!python/object/apply:os.system [ls]\n",
     "line 1: !!python/object/apply:os.system says what kind of value"),
    ("recipe: !!binary aGVsbG8=\n", "line 1: !!binary says what kind of value follows"),
]  # fmt: skip

# Other recipes, as whole files.
RECIPES = [
    ("recipe: notebook\nmistakes: true\npractice_people: 4\n",
     "line 3: practice_people does nothing with mistakes true"),
    ("recipe: notebook\nmistakes: true\ntasks: [detection]\n", "line 3: tasks does nothing with mistakes true"),
    ("recipe: notebook\nmissed: 0.5\n",
     "line 2: missed does nothing with mistakes false: leave it out, or set mistakes to true"),
    ("recipe: notebook\nmistakes: true\nmissed: 2\n", "line 3: missed is 2: it must be 0 to 1"),
    ("recipe: notebook\nby: 5\n", "line 2: by does nothing without manipulated"),
    ("recipe: notebook\nmanipulated: [conv5_3]\nby: .nan\n", "line 3: by is nan: it must be a number"),
    ("recipe: notebook\nmanipulated: [conv5_3, conv5_3]\n",
     "line 2: manipulated is ['conv5_3', 'conv5_3']: 'conv5_3' stands there twice"),
    ("recipe: notebook\ntasks: []\n", "line 2: tasks is []: it must name at least one"),
    ("recipe: notebook\ntasks: [detection, detection]\n", "'detection' stands there twice"),
    ("recipe: notebook\nruns: 0\n", "line 2: runs is 0: it must be 1 to 10,000"),
    (f"recipe: notebook\nruns: 1{'0' * 30}\n", "it must be 1 to 10,000"),
    ("recipe: notebook\napproaches: null\n", "line 2: approaches is null: it must be settings"),
    ("recipe: notebook\napproaches: []\n", "line 2: approaches is []: it must be settings"),
    ("recipe: notebook\napproaches:\n  a: []\n  '': []\n", "line 4: approaches names '': it must not be blank"),
    ("recipe: notebook\napproaches:\n  ' ': []\n", "line 3: approaches names ' ': it must not be blank"),
    (f"recipe: notebook\napproaches: {{{LONG}: []}}\n", "it must be at most 100 letters; it has 300"),
    ('recipe: notebook\napproaches: {"a\\nb": []}\n',
     "line 2: approaches names 'a\\nb': it must not hold the character '\\n'"),
    ('recipe: notebook\napproaches: {"a\\0b": []}\n', "line 2: approaches names 'a\\x00b': it must be text"),
    ("recipe: notebook\napproaches:\n  a:\n    - {kind: Nose}\n",
     "line 4: approaches.a.0 is {'kind': 'Nose'}: no kind of lesion"),
    ("recipe: notebook\ndata:\n  tests: [intact]\n", "line 3: data.tests does nothing here"),
    ("recipe: notebook\nrun: {patience: 3}\n",
     "line 2: run.patience does nothing here (every stage runs to its end)"),
    ("recipe: recovery\n", "injuries is empty"),
    ("recipe: recovery\ninjuries: 3\n", "line 2: injuries is 3: it must be a list"),
    ("recipe: recovery\ninjuries: [5]\n", "line 2: injuries.0 is 5: it must be a list"),
    ("recipe: recovery\nreadout_epochs: 0\n", "line 2: readout_epochs is 0: it must be 1 to 100,000"),
    ("recipe: recovery\ndata: {tests: [intact]}\n",
     "line 2: data.tests does nothing here (all tests are on intact pictures)"),
    ("recipe: distil\n", "line 1: teacher is missing: it must be text (MobileFaceNet's state dict)"),
    ("recipe: distil\nteacher: t.pt\n", "line 1: data is missing: it must be settings"),
    ("recipe: distil\nteacher: t.pt\ndata: {}\n",
     "line 3: data.root is missing: it must be text (LFW's folder of people"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x, shares: {plain: -1}}\n",
     "line 3: data.shares.plain is -1: it must be 0 to 100"),
    ("recipe: distil\nteacher: t.pt\ndata:\n  root: x\n  shares: {plain: 0, moved: 0, blended: 0, composite: 0}\n",

     "line 5: data.shares: shares are all 0"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x, object_photographs: 4}\n",
     "data.object_photographs does nothing without objects"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x, facespace_people: 1000000000000}\n",
     "so many take 3.76e+04 TB of memory"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x}\nschedule:\n  sizes: [[0, 64], [0, 112]]\n",
     "line 5: schedule.sizes begin at epochs [0, 0]"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x}\nschedule: {sizes: [[0, 64, 3]]}\n",
     "schedule.sizes.0 is [0, 64, 3]: it must be a list of 2"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x}\nschedule: {views_per_epoch: 3}\n",
     "line 4: schedule.views_per_epoch is 3: less than one batch"),
    ("recipe: distil\nteacher: t.pt\ndata: {root: x}\nwidth: 0\n", "line 4: width is 0: it must be 0.01 to 4"),
]  # fmt: skip

# A study that is right but for this line, its third.
STUDY = "participants: [untrained]\nlesions: {some: [{kind: Ablate, site: conv5_3, fraction: [0.5]}]}\n"
STUDIES = [
    ("name: ''", "line 3: name is '': it must not be blank (of the run's folder)"),
    ("name: '  '", "line 3: name is ' ': it must not be blank"),
    (f"name: {LONG}", "it must be at most 100 letters; it has 300"),
    (f"name: {'名' * 90}", "it is too long for the name of a folder"),
    ('name: "a\\nb"', "line 3: name is 'a\\nb': it must not hold the character '\\n'"),
    ('name: "a\\0b"', "line 3: name is 'a\\x00b': it must be text"),
    ("name: a/b", "line 3: name is 'a/b': it must not hold /: it becomes the name of a folder"),
    ("name: 'a\\b'", "it must not hold \\: it becomes the name of a folder"),
    ("name: ..", "line 3: name is '..': it must not begin with a dot"),
    ("name: 'a '", "line 3: name is 'a ': it must not begin or end with a blank"),
    ("name: null", "line 3: name is null: it must be text"),
    ("name: [a]", "line 3: name is ['a']: it must be text"),
    ("question: [a]", "line 3: question is ['a']: it must be text"),
    ("draws: -1", "line 3: draws is -1: it must be 1 to 10,000 (how often each lesion is drawn anew)"),
    ("draws: null", "line 3: draws is null: it must be a whole number"),
    (f"draws: 1{'0' * 30}", "it must be 1 to 10,000"),
    ("seed: -1", "line 3: seed is -1: it must be 0 to 4,294,967,295 (of pictures and lesions)"),
    ("seed: 1e30", "line 3: seed is 1e+30: it must be 0 to 4,294,967,295"),
    ("batch_size: 0", "line 3: batch_size is 0: it must be 1 to 4,096"),
    ("batch_size: -1", "line 3: batch_size is -1: it must be 1 to 4,096"),
    ("device: null", "line 3: device is null: it must be text, auto, cpu, cuda, cuda:0 or mps"),
    ("device: meta", "line 3: device is 'meta': it must be auto, cpu, cuda, cuda:0 or mps"),
    ("device: cuda:-1", "line 3: device is 'cuda:-1': it must be auto"),
    ("output: ''", "line 3: output is '': it must not be blank"),
    ("output: /proc/x", "output: nothing can be written to /proc/x"),
    ("output: config.yaml", "config.yaml is no folder"),
    (f"output: {LONG}", "it is longer than a path can be"),
    ("overwrite: perhaps", "line 3: overwrite is 'perhaps': it must be true or false"),
    ("tasks: null", "line 3: tasks is null: it must be a list"),
    ("tasks: []", "line 3: tasks is []: it must name at least one"),
    ("tasks: [detection, detection]", "'detection' stands there twice"),
    ("stimuli: null", "line 3: stimuli is null: it must be a list"),
    ("stimuli: []", "line 3: stimuli is []: it must name at least one"),
    ("stimuli: [invert]", "line 3: stimuli must begin with `intact`"),
    ("pictures: {variability: -1}", "line 3: pictures.variability is -1: it must be 0 to 5"),
    ("pictures: {variability: .nan}", "line 3: pictures.variability is nan: it must be a number"),
    ("pictures: {variability: 1e308}", "line 3: pictures.variability is 1e+308: it must be 0 to 5"),
    ("pictures: {training_people: 1000000000}", "it must be 2 to 100,000; so many take 151 TB of memory"),
    ("pictures: {enrolled_people: 1}", "line 3: pictures.enrolled_people is 1: it must be 2 to 100,000"),
    ("pictures: {root: nowhere}", "line 3: pictures.root is no setting"),
    ("pictures: {objects: ''}", "line 3: pictures.objects is '': it must not be blank"),
    ("pictures: {source: lfww}", "line 3: pictures.source is 'lfww'"),
    ("approaches: {}", "line 3: approaches is no setting any more: write `lesions:"),
    ("model: builtin", "line 3: model is no setting any more: write `participants: [NAME]`"),
    ("drawz: 4", "line 3: drawz is no setting: did you mean draws?"),
    ("question: &a [*a]", "line 3: *a stands inside &a itself"),
]  # fmt: skip

# Words after `python -m facelesion.train`.
TRAIN = [
    (["--config"], "no recipe: give --config FILE.yaml"),
    (["--config", "none.yaml"], "no config file at none.yaml"),
    (["--config", LONG], "no config file at nnn"),
    (["--config", "."], "no config file at ."),
    (["--config", "a\0b"], "no config file at a"),
    (["--config="], "no config file at"),
    (["--recipe"], "no recipe"),
    (["--recipe=cooking"], "no recipe is called 'cooking'"),
    (["--recipe", "classify", "--epochs"], "--epochs needs a value after it"),
    (["--recipe", "classify", "--epochs", "--seed", "3"], "--epochs needs a value after it"),
    (["--recipe", "classify", "--epochs", "-1"], "--epochs is -1: it must be 1 to 100,000"),
    (["--recipe", "classify", "--epochs=0"], "--epochs is 0: it must be 1 to 100,000"),
    (["--recipe", "classify", "--epochs", "null"], "--epochs is null: it must be a whole number"),
    (["--recipe", "classify", "--batch-size", "0"], "--batch_size is 0: it must be 1 to 65,536"),
    (["--recipe", "classify", "--data.people", "many"], "--data.people is 'many': it must be a whole number"),
    (["--recipe", "classify", "--data.poeple", "3"], "--data.poeple is no setting: did you mean people?"),
    (["--recipe", "classify", "--data.people.most", "3"],
     "--data.people is {'most': 3}: it must be a whole number"),
    (["--recipe", "classify", "--data", "5"], "--data is 5: it must be settings"),
    (["--recipe", "classify", "--data", "5", "--data.people", "5"],
     "--data.people cannot be set: no part 'people' in '5'"),
    (["--recipe", "classify", "--lesion", "[]", "--lesion.0.site", "x"],
     "--lesion.0.site cannot be set: no place '0'"),
    (["--recipe", "classify", "--data.stimuli", "[intact"], "--data.stimuli is '[intact': it must be a list"),
    (["--recipe", "classify", "--data.stimuli", "[" * 100_000], "it must be a list"),
    (["--recipe", "classify", "--data.root", "nowhere"], "--data.root does nothing with source facespace"),
    (["--recipe", "classify", "--data.objects", ""], "--data.objects is '': it must not be blank"),
    (["--recipe", "classify", "--run.folder", "a\udcffb"], "--run.folder is 'a\\udcffb': it must be text"),
    (["--recipe", "classify", "--run.folder", "/proc/1/x"], "nothing can be written to /proc/1/x"),
    (["--recipe", "classify", "--sham"], "--sham does nothing without lesion"),
    (["--recipe", "classify", "--stimuli", "[intact]"], "--stimuli is no setting"),
    (["--recipe", "classify", "epochs"], "'epochs' stands there alone: a setting is written --key value"),
    (["--recipe", "classify", "-e", "3"], "'-e' stands there alone"),
    (["--recipe", "classify", "--", "3"], "'--' stands there alone"),
]  # fmt: skip

# Words after `facelesion`.
COMMANDS = [
    (["lesion"], "no command 'lesion': take one of study, report"),
    (["--frobnicate"], "no command '--frobnicate'"),
    (["study", "none"], "no config file at none"),
    (["sites", "--model"], "--model needs a value after it"),
    (["sites", ""], "--model is '': it must not be blank"),
    (["sites", LONG], "it is longer than a path can be"),
    (["sites", "null"], "--model is null: it must be text"),
    (["sites", "untrained", "too"], "'too' stands there alone"),
    (["report"], "--run_folder is missing: it must be text (a folder such as runs/default)"),
    (["report", "nowhere"], "nowhere: no such folder"),
    (["report", "/proc"], "run_folder: nothing can be written to /proc"),
    (["prepare"], "--root is missing"),
    (["prepare", ".", "--size", "8"], "--size is 8: it must be 16 to 1,024 (side of the crops in pixels)"),
    (["prepare", ".", "--size", "1e9"], "it must be 16 to 1,024"),
    (["prepare", ".", "--margin", "-1"], "--margin is -1: it must be 0 to 1,024"),
    (["prepare", ".", "--workers", "0"], "--workers is 0: it must be 1 to 1,024"),
    (["prepare", ".", "--landmarks", "eyes"],
     "--landmarks is 'eyes': it must be one of mediapipe, dlib, mtcnn"),
    (["prepare", ".", "--landmarks", "mtcnn", "--model", "x"], "--model does nothing with landmarks mtcnn"),
    (["prepare", ".", "--strict", "perhaps"], "--strict is 'perhaps': it must be true or false"),
    (["prepare", ".", "--out", "/proc/x"], "out: nothing can be written to /proc/x"),
    (["prepare", ".", "--out", "config.yaml"],
     "out: nothing can be written to config.yaml (config.yaml is no folder)"),
    (["prepare", ".", "--out", LONG], "it is longer than a path can be"),
    (["faces", "--people", "0"], "--people is 0: it must be 1 to 500 (rows)"),
    (["faces", "--people", "1000000000"],
     "--people is 1000000000: it must be 1 to 500; so many take 903 TB of memory"),
    (["faces", "--pictures", "1"], "--pictures is 1: it must be 2 to 100"),
    (["faces", "--seed", "-1"], "--seed is -1: it must be 0 to 4,294,967,295"),
    (["faces", "--seed", "1e30"], "--seed is 1e+30: it must be 0 to 4,294,967,295"),
    (["faces", "--show", "looks", "--pictures", "3"], "--pictures does nothing with show looks"),
    (["faces", "--show", "poeple"], "--show is 'poeple': did you mean people?"),
    (["faces", "--out", "/proc/x.png"], "out: nothing can be written to /proc/x.png"),
    (["faces", "--out", f"{LONG}.png"], "it is longer than a path can be"),
    (["weights"], "weights what?"),
    (["weights", "burn"], "weights what?"),
    (["weights", "convert"], "--file is missing"),
    (["weights", "convert", "a.h5"], "--to is missing"),
    (["weights", "convert", "a.h5", "--to", "/proc/x.safetensors"],
     "to: nothing can be written to /proc/x.safetensors"),
    (["weights", "convert", "a.h5", "--to", "x.safetensors", "--names", "n.txt"],
     "--names does nothing without top"),
    (["weights", "convert", "a.h5", "--to", "x.safetensors", "--known-as", "me"],
     "--known_as is 'me': it must be vgg-face"),
    (["weights", "verify", "x", "--model", "m"], "--model does nothing without photograph"),
    (["weights", "verify", "x", "--landmarks", "dlib"], "--landmarks does nothing without photograph"),
    (["weights", "fetch"], "--name is missing"),
    (["weights", "fetch", ""], "--name is '': it must not be blank"),
    (["weights", "fetch", "nobody"], "no weights are called 'nobody'"),
    (["weights", "fetch", "mobilefacenet", "--to", "/proc/x"], "to: nothing can be written to /proc/x"),
    (["weights", "list", "--all", "3"], "--all is no setting: this command takes none"),
]  # fmt: skip


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(program, words: list[str], folder: Path, capsys: pytest.CaptureFixture[str], expected: str) -> None:
    """One line with what is expected in it, status 2, and a folder that is as it was."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert program(words) == 2
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("facelesion: error: ") and expected in lines[0], told.err[:500]
    assert len(lines[0]) < 700 and told.out == ""
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def shortly(value: object) -> str:
    return repr(value)[:60]


@pytest.mark.parametrize(("said", "expected"), CLASSIFY, ids=shortly)
def test_a_wrong_setting_is_told_with_file_line_and_key(said, expected, empty, capsys) -> None:
    (empty / "config.yaml").write_text(f"recipe: classify\n{said}\n", encoding="utf-8")
    refused(train.main, ["--config", "config.yaml"], empty, capsys, expected)


@pytest.mark.parametrize(("content", "expected"), [*FILES, *RECIPES], ids=shortly)
def test_a_wrong_file_is_told_with_its_line(content, expected, empty, capsys) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    (empty / "config.yaml").write_bytes(raw)
    refused(train.main, ["--config", "config.yaml"], empty, capsys, expected)


@pytest.mark.parametrize(("said", "expected"), STUDIES, ids=shortly)
def test_a_wrong_study_is_told_with_file_line_and_key(said, expected, empty, capsys) -> None:
    (empty / "config.yaml").write_text(f"{STUDY}{said}\n", encoding="utf-8")
    refused(cli.run, ["study", "config.yaml"], empty, capsys, expected)


@pytest.mark.parametrize(("words", "expected"), TRAIN, ids=shortly)
def test_wrong_words_to_a_training_are_told(words, expected, empty, capsys) -> None:
    refused(train.main, words, empty, capsys, expected)


@pytest.mark.parametrize(("words", "expected"), COMMANDS, ids=shortly)
def test_wrong_words_to_a_command_are_told(words, expected, empty, capsys) -> None:
    (empty / "config.yaml").write_text("recipe: classify\n", encoding="utf-8")
    refused(cli.run, words, empty, capsys, expected)
