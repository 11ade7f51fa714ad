// Algorithms that speak the documented protocol themselves: requests on standard input, answers into the FIFO.
"use strict";

const fs = require("fs");
const { spawn } = require("child_process");

const FIFO = process.env.ALGORITHMIA_OUTPUT_FIFO;
const ME = String(Math.random());
const never = () => new Promise(() => {});

function answer(value) {
    return JSON.stringify({ result: value, metadata: { content_type: "json" } });
}

function say(...texts) {
    const pipe = fs.openSync(FIFO, "w");
    for (const text of texts) fs.writeSync(pipe, text);
    fs.closeSync(pipe);
}

function freeze() {
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60000);
}

function attempt(action, ...parameters) {
    try {
        action(...parameters);
        return "done";
    } catch (error) {
        return error.code || error.name;
    }
}

// What the input says, and nothing more.
exports.says = (input) => {
    say(input);
    return never();
};

// Two answers in one breath: which of them is meant?
exports.answers_twice_at_once = () => {
    say(answer(1) + answer(2));
    return never();
};

// The second one a moment later, when nobody has asked.
exports.answers_again_later = () => {
    setTimeout(() => say(answer("stolen")), 200);
    return ME;
};

// The same from a process that is out of sight.
exports.answers_from_another_process = () => {
    const script = `trap '' TERM HUP; sleep 0.2; echo '${answer("stolen")}' > "$0"; sleep 60`;
    spawn("sh", ["-c", script, FIFO], { detached: true, stdio: "ignore" });
    return ME;
};

// Half an answer, and nothing more.
exports.answers_half = () => {
    say('{"result": [1');
    return never();
};

// Half an answer, and the end.
exports.answers_half_and_exits = () => {
    say('{"result": [1');
    process.exit(4);
};

// Bytes that are no text.
exports.answers_invalid_utf8 = () => {
    say(Buffer.from('{"result": "\xff\xfe", "metadata": {"content_type": "text"}}', "latin1"));
    return never();
};

// Lists in lists.
exports.answers_too_deep = () => {
    const pipe = fs.openSync(FIFO, "w");
    fs.writeSync(pipe, '{"result": ');
    for (const text of ["[".repeat(1000), "]".repeat(1000)]) for (let i = 0; i < 100; i++) fs.writeSync(pipe, text);
    fs.writeSync(pipe, ', "metadata": {"content_type": "json"}}');
    return never();
};

// More than anybody may say.
exports.answers_too_much = (input) => "x".repeat(input);

// A line of a hundred megabytes, and its end.
exports.never_stops_answering = () => {
    const pipe = fs.openSync(FIFO, "w");
    const piece = Buffer.alloc(1 << 20, "x");
    fs.writeSync(pipe, '{"result": "');
    for (let i = 0; i < 100; i++) for (let done = 0; done < piece.length; ) done += fs.writeSync(pipe, piece, done);
    fs.writeSync(pipe, '", "metadata": {"content_type": "text"}}');
    return never();
};

// Blanks, after which an answer might begin.
exports.answers_blanks = () => {
    const pipe = fs.openSync(FIFO, "w");
    const piece = Buffer.alloc(1 << 20, " ");
    for (let i = 0; i < 100; i++) for (let done = 0; done < piece.length; ) done += fs.writeSync(pipe, piece, done);
    return never();
};

// An answer before it has been asked anything.
exports.answers_unasked = () => "loaded";
exports.answers_unasked_load = () => say(answer("unasked"));

// Busy for ever once it has loaded, whatever it is sent.
exports.never_reads = () => "read";
exports.never_reads_load = () => {
    fs.writeSync(1, "PIPE_INIT_COMPLETE\n");
    freeze();
};

// Deaf from the beginning.
exports.closes_its_input = () => "read";
exports.closes_its_input_load = () => {
    fs.writeSync(1, "PIPE_INIT_COMPLETE\n");
    fs.closeSync(0);
    freeze();
};

// Mute.
exports.closes_both_outputs = () => {
    fs.closeSync(1);
    fs.closeSync(2);
    return "quiet";
};

// More output than anybody reads before it is ready.
exports.floods_before_it_is_ready = () => "ready";
exports.floods_before_it_is_ready_load = () => {
    for (let i = 0; i < 100; i++) fs.writeSync(1, "x".repeat(65536));
};

// Ready again and again.
exports.is_ready_too_often = () => {
    fs.writeSync(1, "PIPE_INIT_COMPLETE\nPIPE_INIT_COMPLETE\n");
    return "ready";
};

// Something else in the FIFO's place, for whoever reads there: how many of the ways lead there.
exports.replaces_the_fifo = () => {
    fs.writeFileSync("/tmp/other", "x");
    const outcomes = [
        attempt(fs.unlinkSync, FIFO),
        attempt(fs.renameSync, FIFO, "/tmp/another"),
        attempt(fs.renameSync, "/tmp/other", FIFO),
    ];
    return outcomes.filter((outcome) => outcome === "done").length;
};

// Members that aren't an algorithm's to say.
exports.forges_metadata = () => {
    const metadata = { content_type: "json", duration: -5, stdout: "forged", alerts: ["forged"], request_id: "forged" };
    say(JSON.stringify({ result: 1, metadata, request_id: "forged", error: null }));
    return never();
};

// An exit while it works.
exports.exits = () => process.exit(0);

// The end of the process by a signal.
exports.ends_by_a_signal = () => {
    process.kill(process.pid, "SIGKILL");
    return never();
};
