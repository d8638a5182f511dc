// Plays the run of the first screen and prints it as JSON; plugin.ts runs this while the page is built.
import { playRun } from "../src/run/play.ts";
import { FIRST } from "../src/state/app-state.ts";

const { decisions, ...run } = playRun(FIRST.run);
process.stdout.write(JSON.stringify({ ...run, decisions: [...decisions] }));
