"""The detector: Haar cascades as OpenCV ships them."""
import os

import cv2

# Larger pictures are searched at this size: a face in them is still large enough, and the time stays bounded.
LONGEST_SIDE = 1600
SMALLEST_FACE = 24
_MODEL = "haarcascade_frontalface_alt2.xml"
_GREEN = (0, 255, 0)


def load_detector():
    """The trained detector of frontal faces."""
    detector = cv2.CascadeClassifier(os.path.join(cv2.data.haarcascades, _MODEL))
    if detector.empty():
        raise RuntimeError("OpenCV came without %s" % _MODEL)
    return detector


def find_faces(picture, detector):
    """Rectangles ``{"left", "top", "right", "bottom"}`` in pixels of `picture`, from left to right."""
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    scale = max(height, width) / float(LONGEST_SIDE)
    if scale > 1:
        size = (max(1, int(round(width / scale))), max(1, int(round(height / scale))))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    else:
        scale = 1.0
    # More neighbours and an evened-out contrast: hardly a face less, far fewer that are none.
    found = detector.detectMultiScale(
        cv2.equalizeHist(grey), scaleFactor=1.1, minNeighbors=5, minSize=(SMALLEST_FACE, SMALLEST_FACE)
    )
    faces = []
    for left, top, face_width, face_height in found:
        faces.append(
            {
                "left": max(0, int(round(left * scale))),
                "top": max(0, int(round(top * scale))),
                "right": min(width - 1, int(round((left + face_width) * scale))),
                "bottom": min(height - 1, int(round((top + face_height) * scale))),
            }
        )
    return sorted(faces, key=lambda face: (face["left"], face["top"]))


def draw(picture, faces):
    """Draw a box around each of `faces` into `picture`."""
    thickness = max(2, int(round(max(picture.shape[:2]) / 400.0)))
    for face in faces:
        cv2.rectangle(picture, (face["left"], face["top"]), (face["right"], face["bottom"]), _GREEN, thickness)
