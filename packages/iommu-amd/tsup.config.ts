import { library } from "../../tsup.preset.ts";

export default library("src/decode/index.ts", "src/driver/index.ts", "src/hardware/index.ts", "src/ivrs/index.ts", "src/layouts/index.ts");
