import { render } from "preact";
import "./style.css";
import { openRuns } from "./run/runs.ts";
import { workOffline } from "./work-offline.ts";
import { Shell } from "./shell/shell.tsx";
import { openStore } from "./state/store.ts";

const store = openStore(window);
const runs = openRuns(store);
const app = document.querySelector("#app");
if (app) {
  app.replaceChildren();
  render(<Shell store={store} runs={runs} />, app);
}
workOffline();
