import { render } from "preact";
import "./style.css";
import { openRuns } from "./run/runs.ts";
import { workOffline } from "./work-offline.ts";
import { loadView, Shell } from "./shell/shell.tsx";
import { openStore } from "./state/store.ts";

const store = openStore(window);
const runs = openRuns(store);
const app = document.querySelector("#app");
// Not awaited: what views share with this module would wait for it, and it for them.
void loadView(store.state.value.view).catch(() => undefined).then((first) => {
  if (!app) return;
  app.replaceChildren();
  render(<Shell store={store} runs={runs} first={first} />, app);
  workOffline();
});
