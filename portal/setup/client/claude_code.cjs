// Merges the gateway into the settings of Claude Code, or takes exactly that out again.
//
// Does what claude_code.py does, where there is Node.js and no Python. Runs on the developer's
// machine, out of the set-up script, with what it needs in the environment.
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const FOLDER = process.env.CLAUDE_CONFIG_DIR || path.join(os.homedir(), ".claude");
const SETTINGS = path.join(FOLDER, "settings.json");
const RECORD = path.join(FOLDER, "claudcode-setup.json");
const BACKUP = path.join(FOLDER, "settings.json.before-claudcode");

class Refused extends Error {}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// The JSON object in a file and its text; empty when there is no file.
function read(file) {
  if (!fs.existsSync(file)) return [{}, ""];
  const text = fs.readFileSync(file, "utf8").replace(/^\uFEFF/, "");
  if (!text.trim()) return [{}, text];
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Refused(
      `${file} is not valid JSON (${error.message}). Nothing was changed: mend it, then rerun.`,
    );
  }
  if (!isObject(value) || !isObject(value.env ?? {}) || value.env === null) {
    throw new Refused(`${file} is not what Claude Code expects there. Nothing was changed.`);
  }
  return [value, text];
}

// Replaces a file at once, readable for its owner alone; a link stays a link.
function write(file, text) {
  const target = fs.existsSync(file) ? fs.realpathSync(file) : file;
  const temporary = `${target}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, text, { mode: 0o600, flag: "wx" });
  fs.renameSync(temporary, target);
}

// JSON indented as the text it replaces was.
function formatted(value, like) {
  const found = /\n([ \t]+)\S/.exec(like);
  return JSON.stringify(value, null, found ? found[1] : 2) + (!like || like.endsWith("\n") ? "\n" : "");
}

function install(wanted) {
  const [settings, text] = read(SETTINGS);
  const [record] = read(RECORD);
  const hadEnv = record.had_env ?? "env" in settings;
  const env = (settings.env ??= {});
  const setBefore = record.set ?? {};
  const before = record.before ?? {};
  for (const [name, value] of Object.entries(wanted)) {
    if (!(name in setBefore) || env[name] !== setBefore[name]) before[name] = env[name] ?? null;
    env[name] = value;
  }
  const set = { ...setBefore, ...wanted };
  fs.mkdirSync(FOLDER, { mode: 0o700, recursive: true });
  if (text && !fs.existsSync(BACKUP)) write(BACKUP, text);
  const kept = { had_file: record.had_file ?? Boolean(text), had_env: hadEnv, set, before };
  // First: settings without a record could never be taken out again.
  write(RECORD, JSON.stringify(kept, null, 2) + "\n");
  write(SETTINGS, formatted(settings, text));
  console.log(`Claude Code is set up in ${SETTINGS}.`);
  if (text) console.log(`What was there before is in ${BACKUP}.`);
}

function uninstall() {
  const [record, kept] = read(RECORD);
  if (!kept) {
    console.log(`Nothing of ClaudCode is in ${SETTINGS}.`);
    return;
  }
  const [settings, text] = read(SETTINGS);
  const env = settings.env ?? {};
  for (const [name, value] of Object.entries(record.set)) {
    if (env[name] !== value) console.log(`${name} was changed since, and stays as it is.`);
    else if ((record.before[name] ?? null) === null) delete env[name];
    else env[name] = record.before[name];
  }
  if (Object.keys(env).length === 0 && !record.had_env) delete settings.env;
  if (Object.keys(settings).length > 0 || (text && record.had_file)) {
    write(SETTINGS, formatted(settings, text));
  } else if (text) {
    fs.unlinkSync(SETTINGS);
  }
  for (const file of [BACKUP, RECORD]) fs.rmSync(file, { force: true });
  console.log(`ClaudCode is out of ${SETTINGS}.`);
}

// The variables of Claude Code; a family the key may not use is another it may.
function wanted() {
  const models = process.env.CLAUDCODE_MODELS.split(/\s+/).filter(Boolean);
  const variables = {
    ANTHROPIC_BASE_URL: process.env.CLAUDCODE_BASE_URL,
    ANTHROPIC_AUTH_TOKEN: process.env.CLAUDCODE_API_KEY,
  };
  for (const family of ["opus", "sonnet", "haiku"]) {
    const served = models.find((model) => model.includes(family)) ?? models[0];
    variables[`ANTHROPIC_DEFAULT_${family.toUpperCase()}_MODEL`] = served;
  }
  const fable = models.find((model) => model.includes("fable"));
  if (fable) variables.ANTHROPIC_DEFAULT_FABLE_MODEL = fable;
  return variables;
}

try {
  if (process.env.CLAUDCODE_ACTION === "install") install(wanted());
  else uninstall();
} catch (error) {
  const refused = error instanceof Refused;
  console.error(refused ? error.message : `Cannot write Claude Code's settings: ${error.message}`);
  process.exitCode = 1;
}
