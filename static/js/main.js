// Entry point: every module finds its own data attributes and does nothing where there are none.
import { theme } from "./theme.js";
import { copy } from "./copy.js";
import { otp } from "./otp.js";
import { countdown } from "./countdown.js";
import { menus } from "./menu.js";
import { password } from "./password.js";
import { strength } from "./strength.js";
import { clock } from "./clock.js";
import { once } from "./once.js";
import { secrets } from "./secrets.js";
import { inPlace } from "./inplace.js";
import { settings } from "./settings.js";
import { keygen } from "./keygen.js";
import { firstUse } from "./firstuse.js";
import { smsState } from "./smsstate.js";
import { charts } from "./chart.js";

for (const start of [theme, copy, otp, countdown, menus, password, strength, clock, once, secrets, inPlace, settings, keygen, firstUse, smsState, charts]) start();
