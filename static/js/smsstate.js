// While an SMS is being sent, asks this page every two seconds what became of it, and says so.
export function smsState() {
  const line = document.querySelector("[data-sms-sent]");
  if (!line) return;
  let left = 30;
  const ask = async () => {
    const response = await fetch(location.href, { method: "HEAD", redirect: "error" }).catch(() => null);
    const state = response?.headers.get("SMS-State");
    if (state === "sent") line.textContent = line.dataset.smsSent;
    else if (state === "failed") line.textContent = line.dataset.smsFailed;
    else if (left--) setTimeout(ask, 2000);
  };
  setTimeout(ask, 1000);
}
