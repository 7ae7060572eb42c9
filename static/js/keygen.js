// Keygen: an Ed25519 pair made in the browser. The private key goes into a file and nowhere else; a pasted one is not sent.
import { toast } from "./toast.js";

const PRIVATE = /PRIVATE[\s-]*(KEY|LINES)|["']d["']\s*:|MC[0-9A-Z]CAQAwBQYDK2Vw|IBADANBgkqhkiG9w0BAQEFAASC|b3BlbnNzaC1rZXktdjE/i;
const PATIENCE = 10_000; // ms that a browser gets to take the file

const pem = (label, buffer) => {
  const lines = btoa(String.fromCharCode(...new Uint8Array(buffer))).match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
};

function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/x-pem-file" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), PATIENCE);
}

function refusePrivate(box) {
  const pasted = box.querySelector("#public_key");
  const warning = box.querySelector("#private-key-warning");
  pasted.addEventListener("input", () => {
    if (PRIVATE.test(pasted.value)) {
      pasted.value = "";
      warning.hidden = false;
    } else if (pasted.value) warning.hidden = true;
  });
}

export async function keygen() {
  const box = document.querySelector("[data-keygen]");
  if (!box) return;
  refusePrivate(box);
  const radio = box.querySelector("#kind-ed25519");
  const output = box.querySelector("#made-key");
  const make = box.querySelector("#make-pair");
  try {
    await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
  } catch {
    return; // an old browser, or a page without TLS: the choice stays closed, and says what it needs
  }
  radio.disabled = false;
  box.querySelector("#ed25519-needs").remove();
  make.addEventListener("click", async () => {
    const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    save(pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", pair.privateKey)), make.dataset.name);
    output.value = pem("PUBLIC KEY", await crypto.subtle.exportKey("spki", pair.publicKey));
    toast(make.dataset.made);
  });
  radio.form.addEventListener("formdata", (event) => {
    if (radio.checked) event.formData.set("public_key", output.value);
  });
}
