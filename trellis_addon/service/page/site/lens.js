// A picture from the camera: seen live where the browser lets a page do so, else by the phone's own camera.

import { $, fill, h, open } from "./dom.js";
import { t } from "./words.js";

/** Take a picture; `taken(file)` gets it. */
export async function takePicture(taken) {
  if (!navigator.mediaDevices?.getUserMedia) {
    $("camera-file").click(); // over plain HTTP from another machine there is no camera for pages
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 2048 }, height: { ideal: 2048 } } });
  } catch {
    $("camera-file").click();
    return;
  }
  const video = h("video", { autoplay: true, muted: true, playsInline: true, srcObject: stream, "aria-label": t("What the camera sees") });
  const take = h("button", { class: "primary", onclick: shoot }, t("Take Picture"));
  fill(
    $("lens"),
    h("h2", { id: "lens-title" }, t("Camera")),
    video,
    h("div", { class: "row" }, take, h("button", { class: "quiet", onclick: () => $("lens").close() }, t("Cancel"))),
  );
  open($("lens"), () => stream.getTracks().forEach((track) => track.stop()));

  function shoot() {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      $("lens").close();
      if (blob) taken(new File([blob], "camera.jpg", { type: "image/jpeg" }));
    }, "image/jpeg", 0.95);
  }
}
