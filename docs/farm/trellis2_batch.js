// SPDX-License-Identifier: GPL-3.0-or-later
//
// A job type for Flamenco 3: the pictures of a folder to assets, on all workers, and then to one .blend.
// Put this file into the folder `scripts` beside flamenco-manager; see flamenco.md.

const JOB_TYPE = {
    label: "TRELLIS.2 Batch",
    description: "Make a 3D asset of every picture of a folder",
    settings: [
        { key: "pictures", type: "string", subtype: "dir_path", required: true, visible: "submission",
          description: "Folder of the pictures, on the shared storage; what is made is left in trellis2-batch in it" },
        { key: "output", type: "string", subtype: "file_path", default: "", visible: "submission",
          description: "The .blend that everything is laid out in, on the shared storage; empty: none" },
        { key: "part_size", type: "int32", default: 0, propargs: {min: 0}, visible: "submission",
          description: "At most so many assets in a file, as an asset library of several; 0: all in one" },
        { key: "shards", type: "int32", default: 8, propargs: {min: 1, max: 1000}, visible: "submission",
          description: "Number of tasks that the pictures are dealt out to: two or three for each worker" },
        { key: "backend", type: "string", default: "local", visible: "submission",
          description: "draft, local, remote (paid), or the address of a service" },
        { key: "options", type: "string", default: "", visible: "submission",
          description: "More options of batch, such as: --resolution 1024 --height 0.5" },
        { key: "program", type: "string", default: "{blender} --command trellis2", visible: "hidden",
          description: "How the command line is started; with a Python: /opt/venv/bin/python -m trellis_addon" },
    ],
};

// A command line's words; what stands in double quotes is one.
function words(text) {
    const found = text.match(/"[^"]*"|\S+/g) || [];
    return found.map(word => word.startsWith('"') ? word.slice(1, -1) : word);
}

function task(name, settings, options, more) {
    const program = words(settings.program);
    const made = author.Task(name, "blender");
    made.addCommand(author.Command("exec", {
        exe: program[0],
        args: program.slice(1).concat(["batch", settings.pictures], options, more),
    }));
    return made;
}

function compileJob(job) {
    const settings = job.settings;
    const options = words(settings.options);
    const count = Math.max(1, settings.shards);
    const shards = [];
    for (let number = 1; number <= count; number++) {
        const more = ["--shared", "--shard", `${number}/${count}`, "--backend", settings.backend];
        const shard = task(`pictures ${number} of ${count}`, settings, options, more);
        shards.push(shard);
        job.addTask(shard);
    }
    if (!settings.output) {
        return;
    }
    const more = ["--collect", settings.output];
    if (settings.part_size > 0) {
        more.push("--part-size", `${settings.part_size}`);
    }
    // the settings again: they say which results are meant
    const collecting = task("collect", settings, options.filter(word => word !== "--retry-failed"), more);
    for (const shard of shards) {
        collecting.addDependency(shard);
    }
    job.addTask(collecting);
}
