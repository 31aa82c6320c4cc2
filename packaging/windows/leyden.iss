; Installs for one user, without administrator rights. Wallets live in %APPDATA% and are never touched.
[Setup]
AppId=Leyden
AppName=Leyden
AppVersion=0.1.0
DefaultDirName={autopf}\Leyden
DefaultGroupName=Leyden
PrivilegesRequired=lowest
OutputBaseFilename=leyden-setup
Compression=lzma2
SolidCompression=yes
LicenseFile=..\..\LICENSE
SetupIconFile=..\..\build\icons\leyden.ico
UninstallDisplayIcon={app}\leyden.exe
OutputDir=..\..\dist

[Tasks]
Name: lightning; Description: "Open lightning: links with Leyden"
Name: bitcoin; Description: "Open bitcoin: links with Leyden"; Flags: unchecked

[Files]
Source: "..\..\dist\leyden\*"; DestDir: "{app}"; Flags: recursesubdirs

[Icons]
Name: "{group}\Leyden"; Filename: "{app}\leyden.exe"
Name: "{group}\Leyden, play money"; Filename: "{app}\leyden.exe"; Parameters: "--sandbox"

[Registry]
Root: HKCU; Subkey: "Software\Classes\lightning"; ValueType: string; ValueData: "URL:Lightning payment"; Tasks: lightning; Flags: uninsdeletekey
Root: HKCU; Subkey: "Software\Classes\lightning"; ValueType: string; ValueName: "URL Protocol"; ValueData: ""; Tasks: lightning
Root: HKCU; Subkey: "Software\Classes\lightning\shell\open\command"; ValueType: string; ValueData: """{app}\leyden.exe"" ""%1"""; Tasks: lightning
Root: HKCU; Subkey: "Software\Classes\bitcoin"; ValueType: string; ValueData: "URL:Bitcoin payment"; Tasks: bitcoin; Flags: uninsdeletekey
Root: HKCU; Subkey: "Software\Classes\bitcoin"; ValueType: string; ValueName: "URL Protocol"; ValueData: ""; Tasks: bitcoin
Root: HKCU; Subkey: "Software\Classes\bitcoin\shell\open\command"; ValueType: string; ValueData: """{app}\leyden.exe"" ""%1"""; Tasks: bitcoin
